//! Reads and writes the bytes of a connection: TCP, or TLS over it, without an executor; calls may return `WouldBlock`.
//!
//! The connection's own task reads; any thread that has frames for the client writes.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that serves HTTP, on an executor's task.
#[derive(Debug)]
pub enum Stream {
    /// Not encrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The encryption between frames and socket.
#[derive(Debug)]
pub enum Cipher {
    /// Not encrypted.
    Plain,
    /// TLS.
    Tls(Box<ServerConnection>),
}

impl Stream {
    /// Splits the connection into socket and cipher.
    #[must_use]
    pub fn into_parts(self) -> (TcpStream, Cipher) {
        match self {
            Self::Plain(socket) => (socket, Cipher::Plain),
            Self::Tls(stream) => {
                let (socket, connection) = stream.into_inner();
                (socket, Cipher::Tls(Box::new(connection)))
            }
        }
    }
}

impl Cipher {
    /// Reads decrypted bytes; returns 0 at the end of the stream. Subtracts the bytes read from the socket from
    /// `budget`.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has no bytes or the budget is used up; any other error if the connection is broken.
    pub fn read(&mut self, socket: &TcpStream, into: &mut [u8], budget: &mut usize) -> io::Result<usize> {
        let mut source = Metered { socket, budget };
        match self {
            Self::Plain => source.read(into),
            Self::Tls(connection) => loop {
                match connection.reader().read(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
                if connection.read_tls(&mut source)? == 0 {
                    return Ok(0);
                }
                connection.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            },
        }
    }

    /// Writes bytes; returns how many were taken. Adds the bytes that the socket took to `sent`.
    ///
    /// # Errors
    /// `WouldBlock` if the socket is full; any other error if the connection is broken.
    pub fn write(&mut self, socket: &TcpStream, slices: &[IoSlice<'_>], sent: &mut u64) -> io::Result<usize> {
        match self {
            Self::Plain => {
                let taken = socket.try_write_vectored(slices)?;
                *sent += taken as u64;
                Ok(taken)
            }
            Self::Tls(connection) => {
                let taken = connection.writer().write_vectored(slices)?;
                // A full TLS buffer takes no bytes until the socket has taken some of them.
                if !Self::write_encrypted(connection, socket, sent)? && taken == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                if taken == 0 { connection.writer().write_vectored(slices) } else { Ok(taken) }
            }
        }
    }

    /// Writes encrypted bytes to the socket. Returns whether all are written.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &TcpStream, sent: &mut u64) -> io::Result<bool> {
        match self {
            Self::Plain => Ok(true),
            Self::Tls(connection) => Self::write_encrypted(connection, socket, sent),
        }
    }

    /// Returns whether no encrypted bytes wait for the socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(connection) => !connection.wants_write(),
        }
    }

    fn write_encrypted(connection: &mut ServerConnection, socket: &TcpStream, sent: &mut u64) -> io::Result<bool> {
        while connection.wants_write() {
            match connection.write_tls(&mut Socket(socket)) {
                Ok(taken) => *sent += taken as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Sends `close_notify` over TLS.
    pub fn close(&mut self, socket: &TcpStream) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
            // The connection ends in any case.
            let _ = self.flush(socket, &mut 0);
        }
    }
}

/// The socket for reading, within the budget.
struct Metered<'a> {
    socket: &'a TcpStream,
    budget: &'a mut usize,
}

impl Read for Metered<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = into.len().min(*self.budget);
        if length == 0 && !into.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = self.socket.try_read(into.get_mut(..length).unwrap_or_default())?;
        *self.budget -= read;
        Ok(read)
    }
}

/// The socket for writing, as `rustls` requires it.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
