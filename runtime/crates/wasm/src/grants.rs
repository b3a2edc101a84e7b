//! What the operator lets a component touch. Nothing unless it is named here. Folders are judged in `dirs`, at each start;
//! requests in `http` (`Session::admit`), each time.

mod dirs;

use std::sync::Arc;

use klines_system::protected::Protected;
use wasmtime_wasi::WasiCtxBuilder;

pub use self::dirs::{DirGrant, GrantError};
use super::files::Quota;
use super::http::Egress;

/// A consumer's grants; empty by default.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Raw standard output of this process, unmetered. For the shipped console.
    pub stdout: bool,
    /// Folders.
    pub dirs: Vec<DirGrant>,
    /// What the folders must not reach, judged whenever they are opened.
    pub protected: Arc<Protected>,
    /// Variables, with their values.
    pub env: Vec<(String, String)>,
    /// Hosts that it may talk to, and secrets for them.
    pub http: Egress,
}

impl Grants {
    /// Returns the quota of each folder that `consumer` may write, by the guest's name for it.
    pub(super) fn quotas(&self, consumer: &str) -> Vec<(String, Quota)> {
        let writable = self.dirs.iter().filter(|grant| grant.write);
        writable.map(|grant| (grant.guest.clone(), Quota::new(consumer, grant.host.clone(), grant.max))).collect()
    }

    /// Hands folders and variables to one instance. A folder that may be written is made if it is missing.
    pub(super) fn open(&self, wasi: &mut WasiCtxBuilder) -> Result<(), GrantError> {
        for (name, value) in &self.env {
            wasi.env(name, value);
        }
        dirs::open(&self.dirs, &self.protected, wasi)
    }
}
