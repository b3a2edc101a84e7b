//! The Redis of a cluster: its address, or that of the Sentinels that know it, and one attempt to connect to it.
//!
//! `link` decides when to try again. Passwords are kept in the client and nowhere else.

mod info;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSubStream};
use ::redis::io::tcp::TcpSettings;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsCertificates, cmd,
};
use klines_domain::sanitize::sanitize;
use thiserror::Error;

pub use self::info::Info;
use crate::library::{self, LibraryError};

/// How long one attempt may take in all.
const CONNECT: Duration = Duration::from_secs(3);
/// How long one Sentinel may take. The others are asked after it.
const ASK: Duration = Duration::from_millis(500);
/// How long an answer may take; then the connection is dropped. It is less than a lease.
const ANSWER: Duration = Duration::from_secs(2);
/// The maximum length of a message of a server in the log, in characters.
const MAX_MESSAGE: usize = 200;

/// The address of the Redis of a cluster.
#[derive(Clone)]
pub struct Server {
    /// With Sentinels, its host is the name of the master that they watch.
    info: ConnectionInfo,
    authorities: Option<Vec<u8>>,
    sentinels: Arc<[Client]>,
    shown: String,
}

/// A connection to the master.
#[derive(Clone)]
pub struct Connected {
    /// The connection; clones share it.
    pub connection: MultiplexedConnection,
    /// The replication id: it is another one after a failover.
    pub replication: Arc<str>,
    /// How Redis makes room when its memory is full, if that removes keys: then it can lose what nodes have agreed on.
    pub eviction: Option<String>,
}

/// Why an address is not valid. It contains no password.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct AddressError(String);

/// Why there is no connection.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no answer within 3 s")]
    Silent,
    /// The connection could not be made.
    #[error("no connection: {0}")]
    Failed(String),
    /// No Sentinel knows the master.
    #[error("no Sentinel knows the master `{master}`: {reason}")]
    NoMaster {
        /// Its name.
        master: String,
        /// What the last Sentinel said.
        reason: String,
    },
    /// The server is a replica.
    #[error("it is a replica, which takes no writes")]
    Replica,
    /// The functions cannot be used.
    #[error(transparent)]
    Library(#[from] LibraryError),
}

impl Server {
    /// Parses a URL with `redis://`, `rediss://` or `unix://`, which may contain a user, a password and a database, and the
    /// URLs of Sentinels, if there are any. `authorities` are certificates in PEM that replace those of the system.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(url: &str, sentinels: &[&str], authorities: Option<Vec<u8>>) -> Result<Self, AddressError> {
        let malformed = |error: RedisError| AddressError(words(&error.to_string()));
        let info = plain(url.into_connection_info().map_err(malformed)?);
        let client = |url: &&str| Client::open(plain(url.into_connection_info()?));
        let sentinels = sentinels.iter().map(client).collect::<Result<Vec<_>, _>>().map_err(malformed)?;
        let shown = info.addr().to_string();
        let server = Self { info, authorities, sentinels: sentinels.into(), shown };
        server.client(server.info.clone()).map_err(malformed)?;
        Ok(server)
    }

    /// Returns host and port, or the path of the socket; never a password.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects once to the master, and checks that it has the functions, or loads them if the user may.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self) -> Result<Connected, ConnectError> {
        let connecting = async {
            let mut connection = self.open().await?;
            library::load(&mut connection).await?;
            let Info { replication, eviction, .. } = Info::read(&mut connection).await?;
            Ok(Connected { connection, replication, eviction })
        };
        tokio::time::timeout(CONNECT, connecting).await.unwrap_or(Err(ConnectError::Silent))
    }

    /// Reads what the master says about itself, and whether it has the functions.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn examine(&self) -> Result<(Info, bool), ConnectError> {
        let examining = async {
            let mut connection = self.open().await?;
            Ok((Info::read(&mut connection).await?, library::find(&mut connection).await?))
        };
        tokio::time::timeout(CONNECT, examining).await.unwrap_or(Err(ConnectError::Silent))
    }

    /// Connects once to the master, for those who only look on.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn look(&self) -> Result<MultiplexedConnection, ConnectError> {
        tokio::time::timeout(CONNECT, self.open()).await.unwrap_or(Err(ConnectError::Silent))
    }

    /// Subscribes once to channels of the master.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn listen(&self, channels: &[String]) -> Result<PubSubStream, ConnectError> {
        let listening = async {
            let client = self.client(self.address().await?).map_err(|error| failed(&error))?;
            let mut listener = client.get_async_pubsub().await.map_err(|error| failed(&error))?;
            listener.subscribe(channels).await.map_err(|error| failed(&error))?;
            Ok(listener.into_on_message())
        };
        tokio::time::timeout(CONNECT, listening).await.unwrap_or(Err(ConnectError::Silent))
    }

    async fn open(&self) -> Result<MultiplexedConnection, ConnectError> {
        let client = self.client(self.address().await?).map_err(|error| failed(&error))?;
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(ANSWER));
        client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| failed(&error))
    }

    /// Returns the address of the master.
    async fn address(&self) -> Result<ConnectionInfo, ConnectError> {
        Ok(match self.sentinels.is_empty() {
            true => self.info.clone(),
            false => self.info.clone().set_addr(self.master().await?),
        })
    }

    /// Asks the Sentinels for the address of the master, one after another. The client of the library would wait for one
    /// that does not answer.
    async fn master(&self) -> Result<ConnectionAddr, ConnectError> {
        let name = match self.info.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => host.clone(),
            other => other.to_string(),
        };
        let mut reason = String::new();
        for sentinel in &*self.sentinels {
            let asking = async {
                let mut connection = sentinel.get_multiplexed_async_connection().await?;
                let mut command = cmd("SENTINEL");
                command.arg("GET-MASTER-ADDR-BY-NAME").arg(&name);
                command.query_async::<Option<(String, u16)>>(&mut connection).await
            };
            reason = match tokio::time::timeout(ASK, asking).await {
                Ok(Ok(Some((host, port)))) => return Ok(with_host(self.info.addr(), host, port)),
                Ok(Ok(None)) => "it watches no master of this name".to_owned(),
                Ok(Err(error)) => words(&error.to_string()),
                Err(_) => "no answer within 500 ms".to_owned(),
            };
        }
        Err(ConnectError::NoMaster { master: sanitize(&name, MAX_MESSAGE), reason })
    }

    fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        match self.authorities.clone() {
            Some(pem) => Client::build_with_tls(info, TlsCertificates { client_tls: None, root_cert: Some(pem) }),
            None => Client::open(info),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Server").field(&self.shown).finish()
    }
}

/// `CLIENT SETINFO` is not needed, and without it the operator has to grant one right less.
fn plain(info: ConnectionInfo) -> ConnectionInfo {
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let tcp = TcpSettings::default().set_nodelay(true);
    // What does not get through in the time for an answer is sent again on another connection, and must not get through later
    // on this one.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(ANSWER);
    info.set_redis_settings(settings).set_tcp_settings(tcp)
}

/// Returns an address of the same kind with another host and port.
fn with_host(like: &ConnectionAddr, host: String, port: u16) -> ConnectionAddr {
    match like {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    }
}

pub(crate) fn failed(error: &RedisError) -> ConnectError {
    ConnectError::Failed(words(&error.to_string()))
}

fn words(text: &str) -> String {
    sanitize(text, MAX_MESSAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_without_secrets() {
        let server = Server::new("rediss://user:canary@main/1", &["redis://:canary@one:26379"], None).unwrap();
        assert_eq!(server.shown(), "main:6379");
        assert!(!format!("{server:?}").contains("canary"));
        assert!(!Server::new("redis://:canary@host/x", &[], None).unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn the_master_that_a_sentinel_names_is_reached_as_the_address_says() {
        let info = "rediss://main".into_connection_info().unwrap();
        let found = with_host(info.addr(), "10.0.0.7".to_owned(), 6380);
        assert!(
            matches!(found, ConnectionAddr::TcpTls { ref host, port: 6380, insecure: false, .. } if host == "10.0.0.7")
        );
    }
}
