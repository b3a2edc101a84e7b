//! WASI's `poll` and streams within the deadline of the call, because a guest could make the host wait for ever in
//! them.

mod streams;

use wasmtime::component::{HasData, Resource, ResourceTable};
use wasmtime::{Error, Result};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::sync::io::poll as sync;
use wasmtime_wasi::runtime::in_tokio;
use wasmtime_wasi_io::bindings::wasi::io::poll as wasi;

use super::call_time::CallTime;

/// Implements `wasi:io` with the table of pollables and the time of the call.
pub(super) struct BoundedPoll<'a> {
    pub(super) table: &'a mut ResourceTable,
    pub(super) time: &'a mut CallTime,
}

/// Selects the bounded `wasi:io` of a store for the linker.
pub(super) struct Bounded;

impl HasData for Bounded {
    type Data<'a> = BoundedPoll<'a>;
}

impl sync::Host for BoundedPoll<'_> {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        self.time.wait(wasi::Host::poll(self.table, pollables)).map_err(Error::new)?
    }
}

impl sync::HostPollable for BoundedPoll<'_> {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        in_tokio(wasi::HostPollable::ready(self.table, pollable))
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        self.time.wait(wasi::HostPollable::block(self.table, pollable)).map_err(Error::new)?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        wasi::HostPollable::drop(self.table, pollable)
    }
}
