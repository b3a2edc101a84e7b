//! Links everything that components can import: the contract, and WASI with bounded replacements of some interfaces.

use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::p2::bindings::filesystem::preopens;
use wasmtime_wasi::p2::bindings::sync::filesystem::types;
use wasmtime_wasi::p2::bindings::sync::io;

use super::host::Host;
use super::http::handler;
use super::{contract, files, poll};

/// Returns the linker of an engine.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    // WASI's own implementation would wait without a limit, but a call has a deadline.
    linker.allow_shadowing(true);
    io::poll::add_to_linker::<Host, poll::Bounded>(&mut linker, Host::poll)?;
    io::streams::add_to_linker::<Host, poll::Bounded>(&mut linker, Host::poll)?;
    preopens::add_to_linker::<Host, files::Bounded>(&mut linker, Host::files)?;
    types::add_to_linker::<Host, files::Bounded>(&mut linker, Host::files)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker)?;
    handler::add_to_linker(&mut linker)?;
    linker.allow_shadowing(false);
    contract::add_to_linker(&mut linker)?;
    Ok(linker)
}
