//! The listening socket and the accepted ones. Lets the exchange vanish and come back on the same port, and resets a
//! connection as a failing host does: no close frame, no FIN. Knows nothing of HTTP.

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

/// Wait before another try after the system refused a socket.
const RETRY: Duration = Duration::from_millis(50);

/// Binds with SO_REUSEADDR, so that a restart gets its port back at once.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

/// The listening socket, or its absence while the exchange is down.
pub(crate) struct Door {
    address: SocketAddr,
    listener: Option<TcpListener>,
    down: watch::Receiver<bool>,
    root: CancellationToken,
    /// Cuts every connection accepted since the door last opened.
    epoch: CancellationToken,
}

impl Door {
    pub fn new(
        listener: TcpListener,
        address: SocketAddr,
        down: watch::Receiver<bool>,
        root: CancellationToken,
    ) -> Self {
        let epoch = root.child_token();
        Self { address, listener: Some(listener), down, root, epoch }
    }

    async fn change(down: &mut watch::Receiver<bool>) {
        // The floor is gone only when the server is about to be.
        if down.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl axum::serve::Listener for Door {
    type Io = Link;
    type Addr = Arrival;

    async fn accept(&mut self) -> (Link, Arrival) {
        loop {
            if *self.down.borrow_and_update() {
                self.listener = None;
                self.epoch.cancel();
                Self::change(&mut self.down).await;
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
                () = Self::change(&mut self.down) => continue,
            };
            match accepted {
                Ok((stream, _)) => {
                    // Frames are small and must not wait for each other.
                    let _ = stream.set_nodelay(true);
                    let cut = self.epoch.child_token();
                    return (Link::new(stream, cut.clone()), Arrival { cut });
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    sleep(RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Arrival> {
        Ok(Arrival { cut: self.epoch.clone() })
    }
}

/// What a request knows of its TCP connection: how to cut it.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub cut: CancellationToken,
}

impl Connected<IncomingStream<'_, Door>> for Arrival {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.remote_addr().clone()
    }
}

/// A TCP connection that can be cut from elsewhere.
pub(crate) struct Link {
    stream: TcpStream,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Link {
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

impl Drop for Link {
    fn drop(&mut self) {
        if self.token.is_cancelled() {
            // Closing with a zero linger sends RST instead of FIN.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Link {
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
