//! From a name to addresses, once per request, on a thread that may wait. Judges nothing.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::account::Slot;

/// Addresses of a name that are looked at.
const MOST_ADDRESSES: usize = 16;

/// Knows the addresses of names. May block.
pub trait Resolve: Send + Sync + Debug {
    /// Returns every address of a name.
    ///
    /// # Errors
    /// When there is none, or nobody answers.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// Asks the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Looks a name up.
///
/// The system's resolver cannot be interrupted: its thread keeps the request's slot until it is done, so that a guest
/// that gives up and asks again does not pile threads up.
pub(super) async fn addresses(resolver: Arc<dyn Resolve>, host: &str, slot: Arc<Slot>) -> io::Result<Vec<IpAddr>> {
    let (answer, answered) = oneshot::channel();
    let host = host.to_owned();
    thread::Builder::new().name("resolve".into()).spawn(move || {
        // The request may be given up meanwhile.
        let _ = answer.send(resolver.resolve(&host));
        drop(slot);
    })?;
    let mut found = answered.await.map_err(io::Error::other)??;
    found.truncate(MOST_ADDRESSES);
    Ok(found)
}
