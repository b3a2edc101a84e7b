//! The permissions that the operator grants to a component; everything else is denied. `dirs` checks folders at each
//! start; `http` (`Session::admit`) checks each request.

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
    /// Raw standard output of this process, without limits. For the shipped console.
    pub stdout: bool,
    /// Folders.
    pub dirs: Vec<DirGrant>,
    /// Paths that granted folders must not reach; checked whenever a folder is opened.
    pub protected: Arc<Protected>,
    /// Environment variables, with their values.
    pub env: Vec<(String, String)>,
    /// Hosts that the component may send requests to, with their secrets.
    pub http: Egress,
}

impl Grants {
    /// Returns the quota of each folder that `consumer` may write, with the guest's name of the folder.
    pub(super) fn quotas(&self, consumer: &str) -> Vec<(String, Quota)> {
        let writable = self.dirs.iter().filter(|grant| grant.write);
        writable.map(|grant| (grant.guest.clone(), Quota::new(consumer, grant.host.clone(), grant.max))).collect()
    }

    /// Gives one instance its folders and variables. Creates a missing folder if it may be written.
    pub(super) fn open(&self, wasi: &mut WasiCtxBuilder) -> Result<(), GrantError> {
        for (name, value) in &self.env {
            wasi.env(name, value);
        }
        dirs::open(&self.dirs, &self.protected, wasi)
    }
}
