//! Resolves a name to addresses, once per request, on a thread that may block. Does not check the addresses.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use super::account::Slot;

/// The most addresses of a name that are used.
const MAX_ADDRESSES: usize = 16;

/// Resolves names to addresses. May block.
pub trait Resolve: Send + Sync + Debug {
    /// Returns every address of a name.
    ///
    /// # Errors
    /// When the name has no address, or the lookup fails.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Returns the addresses of a name.
///
/// The resolver of the system cannot be interrupted. Its thread keeps the slot of the request until it is done, so that
/// a guest that cancels and repeats requests cannot start more threads than its limit.
pub(super) async fn addresses(resolver: Arc<dyn Resolve>, host: &str, slot: Arc<Slot>) -> io::Result<Vec<IpAddr>> {
    let (answer, answered) = oneshot::channel();
    let host = host.to_owned();
    thread::Builder::new().name("resolve".into()).spawn(move || {
        // The request may have been cancelled in the meantime.
        let _ = answer.send(resolver.resolve(&host));
        drop(slot);
    })?;
    let mut found = answered.await.map_err(io::Error::other)??;
    found.truncate(MAX_ADDRESSES);
    Ok(found)
}
