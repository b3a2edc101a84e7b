//! The listening socket and the accepted connections. Closes and reopens the same port when the exchange goes down and
//! comes back, and resets a connection as a failing host does: no close frame, no FIN. Does not know HTTP.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{extract::connect_info::Connected, serve::IncomingStream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::sleep,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Pause before the next attempt after the system refused a socket.
const RETRY: Duration = Duration::from_millis(50);

/// Binds with SO_REUSEADDR, so that a restarted exchange gets its port back at once.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

/// A listening socket that is closed while the exchange is down.
pub(crate) struct SimListener {
    address: SocketAddr,
    listener: Option<TcpListener>,
    down: watch::Receiver<bool>,
    root: CancellationToken,
    /// Cuts every connection accepted since the socket was last opened.
    epoch: CancellationToken,
}

impl SimListener {
    pub fn new(
        listener: TcpListener,
        address: SocketAddr,
        down: watch::Receiver<bool>,
        root: CancellationToken,
    ) -> Self {
        let epoch = root.child_token();
        Self { address, listener: Some(listener), down, root, epoch }
    }

    async fn changed(down: &mut watch::Receiver<bool>) {
        // The sender is dropped only when the server ends too.
        if down.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl axum::serve::Listener for SimListener {
    type Io = CuttableStream;
    type Addr = ConnectionHandle;

    async fn accept(&mut self) -> (CuttableStream, ConnectionHandle) {
        loop {
            if *self.down.borrow_and_update() {
                self.listener = None;
                self.epoch.cancel();
                Self::changed(&mut self.down).await;
                continue;
            }
            let Some(listener) = &self.listener else {
                match bind(self.address) {
                    Ok(listener) => {
                        self.epoch = self.root.child_token();
                        self.listener = Some(listener);
                    }
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "cannot listen again, retrying");
                        sleep(RETRY).await;
                    }
                }
                continue;
            };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = Self::changed(&mut self.down) => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Disables Nagle's algorithm: frames are small and must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    let cut = self.epoch.child_token();
                    return (CuttableStream::new(stream, cut.clone()), ConnectionHandle { cut });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<ConnectionHandle> {
        Ok(ConnectionHandle { cut: self.epoch.clone() })
    }
}

/// The TCP connection of a request; it can be cut through `cut`.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionHandle {
    pub cut: CancellationToken,
}

impl Connected<IncomingStream<'_, SimListener>> for ConnectionHandle {
    fn connect_info(stream: IncomingStream<'_, SimListener>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A TCP stream that is reset when its token is cancelled.
pub(crate) struct CuttableStream {
    stream: TcpStream,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CuttableStream {
    fn new(stream: TcpStream, token: CancellationToken) -> Self {
        Self { stream, cut: Box::pin(token.clone().cancelled_owned()), token }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.token.is_cancelled() || self.cut.as_mut().poll(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl Drop for CuttableStream {
    fn drop(&mut self) {
        if self.token.is_cancelled() {
            // Closing with a linger time of zero sends RST instead of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
