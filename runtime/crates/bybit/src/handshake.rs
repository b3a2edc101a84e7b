//! Opens the WebSocket of one connection to the exchange: TCP, TLS, proxy and handshake. Paces nothing, and does not
//! repeat.

use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use thiserror::Error;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::USER_AGENT;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use super::config::AGENT;
use super::connect::{BoxedStream, DialError, DialErrorKind, Dialer, FrameBoundary};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The free part is filled with zeros before every read, so that a larger buffer costs more for each frame than it
/// saves in a burst.
const READ_BUFFER: usize = 16 * 1024;
/// A frame of 1,024 trades, the maximum, has some 200 KiB.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// An open connection.
pub type Socket = WebSocketStream<FrameBoundary<BoxedStream>>;

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// There is no connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The other side does not speak WebSocket, or refuses.
    #[error("websocket handshake failed: {0}")]
    Handshake(#[from] Box<tungstenite::Error>),
    /// The other side does not answer.
    #[error("no websocket handshake within {limit} s", limit = HANDSHAKE_TIMEOUT.as_secs())]
    Timeout,
}

/// The kind of such an error, without the details of its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OpenErrorKind {
    Dial(DialErrorKind),
    Status(StatusCode),
    Handshake(Discriminant<tungstenite::Error>),
    Timeout,
}

impl OpenError {
    /// Returns the kind of the error: for a handshake the HTTP status or the kind of error, for a dial error its kind.
    pub(super) fn kind(&self) -> OpenErrorKind {
        match self {
            Self::Dial(error) => OpenErrorKind::Dial(error.kind()),
            Self::Handshake(error) => match &**error {
                tungstenite::Error::Http(answer) => OpenErrorKind::Status(answer.status()),
                other => OpenErrorKind::Handshake(discriminant(other)),
            },
            Self::Timeout => OpenErrorKind::Timeout,
        }
    }
}

/// Opens a connection.
///
/// # Errors
/// [`OpenError`]; every kind may be temporary.
pub async fn open(dialer: &Dialer, url: &Url) -> Result<Socket, OpenError> {
    let stream = FrameBoundary::messages(dialer.dial(url).await?);
    let mut request = url.as_str().into_client_request().map_err(Box::new)?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let handshake = client_async_with_config(request, stream, Some(config));
    let (socket, _) = timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| OpenError::Timeout)?.map_err(Box::new)?;
    Ok(socket)
}
