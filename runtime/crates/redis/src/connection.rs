//! The address of Redis, one attempt to connect, and the meaning of errors.
//!
//! `writer` decides when to try again. Passwords are stored in the client and nowhere else.

use std::fmt;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerError, TlsCertificates, cmd,
};
use klines_domain::sanitize::sanitize;
use thiserror::Error;

/// How long connecting may take, TLS and authentication included.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take; then the connection is dropped.
const ANSWER: Duration = Duration::from_secs(3);
/// Maximum length of a server's message in the log, in characters.
const MAX_MESSAGE: usize = 200;

/// Address of a server, with its user, password and certificates.
#[derive(Clone)]
pub struct Address {
    client: Client,
    shown: String,
}

/// Why an address is not valid.
#[derive(Debug, Error)]
pub enum AddressError {
    /// The URL or the certificate file cannot be parsed.
    #[error("{0}")]
    Malformed(String),
}

impl Address {
    /// Parses a URL with `redis://`, `rediss://` or `unix://`, which may contain a user, a password and a database.
    /// `authorities` are certificates in PEM that replace the system's certificate authorities.
    ///
    /// # Errors
    /// [`AddressError`], which contains no password.
    pub fn new(url: &str, authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let malformed = |error: RedisError| AddressError::Malformed(words(&error.to_string()));
        let info = url.into_connection_info().map_err(malformed)?;
        // `CLIENT SETINFO` is not needed, and without it the operator has to grant one right less.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let tcp = TcpSettings::default().set_nodelay(true);
        // What does not get through in the time for an answer is sent again on another connection, and must not get through
        // later on this one.
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(ANSWER);
        let info = info.set_redis_settings(settings).set_tcp_settings(tcp);
        let shown = info.addr().to_string();
        let client = match authorities {
            Some(pem) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) }),
            None => Client::open(info),
        };
        Ok(Self { client: client.map_err(malformed)?, shown })
    }

    /// Returns host and port, or the path of the socket; never a password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects once, and returns why Redis cannot be used, without a password.
    ///
    /// # Errors
    /// What Redis or the connection to it said.
    pub async fn check(&self) -> Result<(), String> {
        self.dial().await.map(drop).map_err(|trouble| trouble.to_string())
    }

    /// Connects once, and checks that the server answers and accepts the credentials.
    pub(super) async fn dial(&self) -> Result<MultiplexedConnection, Trouble> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(ANSWER));
        let dialled = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            // `HELLO` is the one command that needs no right. An old server that does not know it answers with an
            // error, which is an answer too.
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

/// Why Redis takes no klines.
#[derive(Clone, Debug, Error, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    /// There is no connection.
    #[error("no connection: {0}")]
    Disconnected(String),
    /// The server did not answer in time.
    #[error("no answer within 3 s")]
    Silent,
    /// It runs a script, or loads its data.
    #[error("it is busy: {0}")]
    Busy(String),
    /// It is a replica, or cannot save.
    #[error("it takes no writes: {0}")]
    ReadOnly(String),
    /// Its memory is full.
    #[error("it is out of memory")]
    OutOfMemory,
    /// The password is wrong or missing, or a right is missing.
    #[error("access denied: {0}")]
    Denied(String),
    /// It answers with any other error.
    #[error("it refuses: {0}")]
    Refused(String),
}

impl Trouble {
    /// Returns whether only an operator can fix it.
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

/// Sanitizes text of the server: one line of plain characters of bounded length.
fn words(text: &str) -> String {
    sanitize(text, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_all_kinds_are_parsed_and_shown_without_secrets() {
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
    fn errors_that_only_an_operator_can_fix_are_distinguished() {
        for (code, needs_operator) in
            [("BUSY", false), ("READONLY", false), ("OOM", false), ("NOPERM", true), ("WRONGTYPE", true)]
        {
            assert_eq!(Trouble::from_code(code, "it says").needs_operator(), needs_operator, "{code}");
        }
    }
}
