//! A served connection's bytes: TCP, or TLS over it, without an executor. Whoever asks is told "would block".
//!
//! Reading happens on the connection's own task, writing on whichever thread has something to say.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// The connection while HTTP is spoken on it, by an executor's task.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What lies between the frames and the socket.
#[derive(Debug)]
pub enum Cipher {
    /// Nothing.
    Plain,
    /// TLS.
    Tls(Box<ServerConnection>),
}

impl Stream {
    /// Takes socket and cipher apart.
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
    /// Reads decrypted bytes; 0 at the end of the stream. `budget` falls by what the socket gave.
    ///
    /// # Errors
    /// Would block, or the budget is used up, or the connection is broken.
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

    /// Writes bytes; returns how many were taken. `sent` grows by what the socket took.
    ///
    /// # Errors
    /// Would block, or the connection is broken.
    pub fn write(&mut self, socket: &TcpStream, slices: &[IoSlice<'_>], sent: &mut u64) -> io::Result<usize> {
        match self {
            Self::Plain => {
                let taken = socket.try_write_vectored(slices)?;
                *sent += taken as u64;
                Ok(taken)
            }
            Self::Tls(connection) => {
                let taken = connection.writer().write_vectored(slices)?;
                // A full buffer takes nothing more until the socket has taken some of it.
                if !Self::pass_on(connection, socket, sent)? && taken == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                if taken == 0 { connection.writer().write_vectored(slices) } else { Ok(taken) }
            }
        }
    }

    /// Hands what is encrypted already to the socket. Returns whether nothing is left.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &TcpStream, sent: &mut u64) -> io::Result<bool> {
        match self {
            Self::Plain => Ok(true),
            Self::Tls(connection) => Self::pass_on(connection, socket, sent),
        }
    }

    /// Whether nothing waits here for the socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Plain => true,
            Self::Tls(connection) => !connection.wants_write(),
        }
    }

    fn pass_on(connection: &mut ServerConnection, socket: &TcpStream, sent: &mut u64) -> io::Result<bool> {
        while connection.wants_write() {
            match connection.write_tls(&mut Socket(socket)) {
                Ok(taken) => *sent += taken as u64,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Says goodbye in the cipher's own way, where it has one.
    pub fn close(&mut self, socket: &TcpStream) {
        if let Self::Tls(connection) = self {
            connection.send_close_notify();
            // The peer is going away either way.
            let _ = self.flush(socket, &mut 0);
        }
    }
}

/// The socket for reading, as far as the budget goes.
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

/// The socket for writing, as `rustls` wants it.
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
