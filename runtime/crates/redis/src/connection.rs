//! Where Redis is, how it is reached, and what it means when it cannot be or answers with an error.
//!
//! One attempt at a time: when the next one follows is the lane's affair. Passwords are in the client and nowhere else.

use std::fmt;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerError, TlsCertificates, cmd,
};
use klines_domain::sanitize::sanitize;
use thiserror::Error;

/// How long connecting may take, TLS and authentication included.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take before the server counts as hung.
const ANSWER: Duration = Duration::from_secs(3);
/// How much of a server's own words is passed on.
const MOST_WORDS: usize = 200;

/// Address of a server, with its user, password and certificates.
#[derive(Clone)]
pub struct Address {
    client: Client,
    shown: String,
}

/// Why an address is none.
#[derive(Debug, Error)]
pub enum AddressError {
    /// The URL or the certificate file is not understood.
    #[error("{0}")]
    Malformed(String),
}

impl Address {
    /// Reads `redis://`, `rediss://` or `unix://`, with user, password and database in it. `authorities` are the
    /// certificates, in PEM, that the server's may be signed by in place of those that the system knows.
    ///
    /// # Errors
    /// [`AddressError`], without any password in it.
    pub fn new(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let malformed = |error: RedisError| AddressError::Malformed(words(&error.to_string()));
        let info = url.into_connection_info().map_err(malformed)?;
        // Its answer is of no use here, and leaving it out spares the operator a right to grant.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(settings);
        let shown = info.addr().to_string();
        let client = match authorities {
            Some(pem) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) }),
            None => Client::open(info),
        };
        Ok(Self { client: client.map_err(malformed)?, shown })
    }

    /// Host and port, or the path of the socket.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects once, and asks whether somebody is there who lets us in.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, Trouble> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(ANSWER));
        let dialled = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // The one question that needs no right. A server that is too old to know it has answered too.
            let answer = cmd("HELLO").exec_async(&mut connection).await;
            let is_answer = |error: &RedisError| error.code() == Some("ERR");
            answer.or_else(|error| if is_answer(&error) { Ok(()) } else { Err(error) })?;
            Ok::<_, RedisError>(connection)
        };
        match tokio::time::timeout(CONNECT, dialled).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(Trouble::from(&error)),
            Err(_) => Err(Trouble::Silent),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Address").field(&self.shown).finish()
    }
}

/// Why Redis does not take klines now.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    /// No connection, or no longer.
    #[error("no connection: {0}")]
    Disconnected(String),
    /// Connected, and no answer in time.
    #[error("no answer within 3 s")]
    Silent,
    /// A script runs, or its data are being loaded.
    #[error("it is busy: {0}")]
    Busy(String),
    /// A replica, or a server that cannot save.
    #[error("it takes no writes: {0}")]
    ReadOnly(String),
    /// Its memory is full.
    #[error("it is out of memory")]
    OutOfMemory,
    /// Wrong or missing password, or a right that is missing.
    #[error("it does not let us: {0}")]
    Denied(String),
    /// Anything else that it says.
    #[error("it refuses: {0}")]
    Refused(String),
}

impl Trouble {
    /// Whether it lasts until somebody does something.
    pub(super) fn needs_operator(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Refused(_))
    }

    fn from_code(code: &str, detail: &str) -> Self {
        let said = words(&format!("{code} {detail}"));
        match code {
            "BUSY" | "LOADING" | "TRYAGAIN" => Self::Busy(said),
            "READONLY" | "MISCONF" | "MASTERDOWN" | "NOREPLICAS" => Self::ReadOnly(said),
            "OOM" => Self::OutOfMemory,
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Self::Denied(said),
            _ => Self::Refused(said),
        }
    }
}

impl From<&ServerError> for Trouble {
    fn from(error: &ServerError) -> Self {
        Self::from_code(error.code(), error.details().unwrap_or_default())
    }
}

impl From<&RedisError> for Trouble {
    fn from(error: &RedisError) -> Self {
        if let Some(code) = error.code() {
            return Self::from_code(code, error.detail().unwrap_or_default());
        }
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::Denied(words(&error.to_string())),
            _ if error.is_timeout() => Self::Silent,
            _ => Self::Disconnected(words(&error.to_string())),
        }
    }
}

/// Outside text made harmless: one line of plain characters, not too long.
fn words(text: &str) -> String {
    sanitize(text, MOST_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_kinds_are_read_and_shown_without_their_secrets() {
        for (url, shown) in [
            ("redis://:canary@localhost/0", "localhost:6379"),
            ("redis://user:canary@host:1234/5", "host:1234"),
            ("rediss://user:canary@host", "host:6379"),
            ("unix:///run/redis.sock?user=me&pass=canary", "/run/redis.sock"),
        ] {
            let address = Address::new(url, None).unwrap();
            assert_eq!(address.shown(), shown);
            assert!(!format!("{address:?}").contains("canary"));
        }
        let error = Address::new("redis://:canary@localhost/x", None).unwrap_err();
        assert_eq!(error.to_string(), "Invalid database number - InvalidClientConfig");
    }

    #[test]
    fn what_only_the_operator_can_mend_is_told_apart() {
        for (code, needs_operator) in
            [("BUSY", false), ("READONLY", false), ("OOM", false), ("NOPERM", true), ("WRONGTYPE", true)]
        {
            assert_eq!(Trouble::from_code(code, "it says").needs_operator(), needs_operator, "{code}");
        }
    }
}
