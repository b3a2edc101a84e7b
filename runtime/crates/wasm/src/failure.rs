//! Converts an error of the engine to the failure that a worker handles, with a message for the operator.

use std::fmt::Write as _;

use klines_delivery::{CrashKind, Failure};
use klines_domain::sanitize::sanitize;
use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::call_time::Overdue;
use super::host::Host;
use super::state::StateError;

/// Maximum length of the text of a failure or a problem, in bytes; longer texts are cut.
pub(super) const MAX_TEXT: usize = 2_048;
/// Maximum number of frames of a guest's backtrace that are kept.
const MAX_FRAMES: usize = 12;
/// Separates the message of a crash from the first frame of its backtrace.
const FIRST_FRAME: &str = "; in";

/// Returns the failure that `error`, of a call or an instantiation, means.
pub(super) fn crash(host: &Host, error: &wasmtime::Error) -> Failure {
    if let Some(error) = error.downcast_ref::<StateError>() {
        return state(host, error);
    }
    let trap = error.downcast_ref::<Trap>();
    let (kind, mut message) = if trap == Some(&Trap::Interrupt) || error.is::<Overdue>() {
        (CrashKind::Timeout, host.time.timeout_message())
    } else if let Some(refusal) = host.account.refused() {
        let (wanted, most) = (mebibytes(refusal.wanted), mebibytes(host.account.most_memory()));
        (CrashKind::Memory, format!("asked for {wanted} MiB in all, the limit is {most} MiB"))
    } else if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
        (CrashKind::Trap, format!("called exit({code})"))
    } else {
        (CrashKind::Trap, sanitize(&error.root_cause().to_string(), MAX_TEXT))
    };
    if let Some(trace) = error.downcast_ref::<WasmBacktrace>() {
        append(&mut message, trace);
    }
    Failure::Crashed { kind, message: sanitize(&message, MAX_TEXT) }
}

/// Returns the failure that an error of the state means.
pub(super) fn state(host: &Host, error: &StateError) -> Failure {
    match error {
        StateError::Unusable { .. } => Failure::Fatal(error.to_string()),
        StateError::Overdue => Failure::Crashed { kind: CrashKind::Timeout, message: host.time.timeout_message() },
    }
}

/// Wraps an error of the state, so that it ends the guest's call.
pub(super) fn raised(error: StateError) -> wasmtime::Error {
    wasmtime::Error::new(error)
}

/// Returns the message of a crash without the guest's backtrace, which changes with every build.
#[must_use]
pub fn without_backtrace(message: &str) -> &str {
    message.split_once(&format!("{FIRST_FRAME} ")).map_or(message, |(before, _)| before)
}

fn append(message: &mut String, trace: &WasmBacktrace) {
    for (number, frame) in trace.frames().iter().take(MAX_FRAMES).enumerate() {
        let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned);
        let lead = if number == 0 { FIRST_FRAME } else { " <" };
        // Writing to a string cannot fail.
        let _ = write!(message, "{lead} {name}");
    }
}

/// Converts bytes to MiB, rounded up, so that a refused size never reads as the limit itself.
fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}
