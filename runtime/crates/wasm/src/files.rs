//! WASI's filesystem for guests: bounds each operation by the time of the call, opens only regular files and folders,
//! and bounds writes by the quota of the folder.
//!
//! Operations run on a separate thread, because the system may block them for any time: a pipe without a writer, a
//! mount whose server is gone. The call ends without waiting for them.

mod descriptor;
mod quota;
mod stream;

use hashbrown::HashMap;
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView};
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::filesystem::types as wasi;
use wasmtime_wasi::p2::bindings::sync::filesystem::types as sync;
use wasmtime_wasi::p2::{FsError, FsResult};

pub(super) use self::quota::Quota;
use super::call_time::CallTime;

/// Maximum number of open streams of folder entries: each holds all names of its folder.
const MAX_LISTINGS: usize = 4;

/// The open files of an instance, with their quotas.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// Quotas of the writable granted folders, by the guest's names for the folders.
    quotas: HashMap<String, Quota>,
    /// The quota of the folder that a descriptor came from, by the descriptor's number.
    of: HashMap<u32, Quota>,
    listings: usize,
}

impl OpenFiles {
    pub(super) fn new(quotas: impl IntoIterator<Item = (String, Quota)>) -> Self {
        Self { quotas: quotas.into_iter().collect(), ..Self::default() }
    }

    /// Gives descriptor `to` the quota of descriptor `from`, through which it was opened.
    fn inherit(&mut self, from: u32, to: u32) {
        if let Some(quota) = self.of.get(&from).cloned() {
            self.of.insert(to, quota);
        }
    }
}

/// The filesystem, with the time of the call and the open files.
pub(super) struct Files<'a> {
    pub(super) inner: WasiFilesystemCtxView<'a>,
    pub(super) time: &'a mut CallTime,
    pub(super) open: &'a mut OpenFiles,
}

/// Marks the bounded `wasi:filesystem` of a store for the linker.
pub(super) struct Bounded;

impl HasData for Bounded {
    type Data<'a> = Files<'a>;
}

/// Waits for an operation within the call's time.
fn wait<T>(time: &mut CallTime, operation: impl Future<Output = FsResult<T>>) -> FsResult<T> {
    time.wait_for_work(operation).map_err(FsError::trap)?
}

impl preopens::Host for Files<'_> {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        let folders = preopens::Host::get_directories(&mut self.inner)?;
        for (folder, name) in &folders {
            if let Some(quota) = self.open.quotas.get(name) {
                self.open.of.insert(folder.rep(), quota.clone());
            }
        }
        Ok(folders)
    }
}

impl sync::Host for Files<'_> {
    fn convert_error_code(&mut self, error: FsError) -> Result<sync::ErrorCode> {
        sync::Host::convert_error_code(&mut self.inner, error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<sync::ErrorCode>> {
        sync::Host::filesystem_error_code(&mut self.inner, error)
    }
}

impl sync::HostDirectoryEntryStream for Files<'_> {
    fn read_directory_entry(
        &mut self,
        stream: Resource<wasi::DirectoryEntryStream>,
    ) -> FsResult<Option<sync::DirectoryEntry>> {
        sync::HostDirectoryEntryStream::read_directory_entry(&mut self.inner, stream)
    }

    fn drop(&mut self, stream: Resource<wasi::DirectoryEntryStream>) -> Result<()> {
        self.open.listings = self.open.listings.saturating_sub(1);
        sync::HostDirectoryEntryStream::drop(&mut self.inner, stream)
    }
}
