//! `wasi:http/outgoing-handler` for the linker: that of `wasmtime-wasi-http`, which keeps the options of each request in
//! its table of handles although the guest gives them away. Here they are dropped.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Host as _};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{RequestOptions, WasiHttpView as _};

use crate::host::Host;

/// The interface, in the version of `wasmtime-wasi-http`.
const INTERFACE: &str = "wasi:http/outgoing-handler@0.2.12";

/// A request, and its options.
type Sent = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
/// The response that will come, or the reason why the request is refused.
type Answer = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

/// Replaces the interface in the linker, which has to allow that.
pub(crate) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.instance(INTERFACE)?.func_wrap("handle", |store, sent| handle(store, sent).map(|answer| (answer,)))
}

fn handle(mut store: StoreContextMut<'_, Host>, (request, options): Sent) -> wasmtime::Result<Answer> {
    let given = options.as_ref().map(|options| Resource::<RequestOptions>::new_own(options.rep()));
    let mut http = store.data_mut().http();
    let answer = http.handle(request, options);
    if let Some(given) = given {
        // Absent if a later version of the crate drops them itself.
        let _ = http.table.delete(given);
    }
    match answer {
        Ok(response) => Ok(Ok(response)),
        Err(error) => http.convert_error_code(error).map(Err),
    }
}
