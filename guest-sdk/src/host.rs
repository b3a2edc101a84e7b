//! The host functions that the runtime offers to a consumer. Outside a component, the test host in `testing` replaces
//! them.

use crate::{Batch, ExactKline, Level, TerminalInfo};

/// Writes one line to the runtime's log, with the consumer's name. Usually the macros, such as [`info!`](crate::info),
/// are used instead.
///
/// The runtime removes control characters, truncates text over 1 KiB and prints at most 100 lines per second.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::klines::consumer::host::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::log(level, message);
}

/// Returns the terminal of standard output; `None` if there is none or if this consumer may not write to it.
#[must_use]
pub fn terminal() -> Option<TerminalInfo> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::host::terminal();
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::terminal();
}

/// Returns the exact digits of a row of the current batch.
pub(crate) fn exact(batch: &Batch, row: usize) -> ExactKline {
    #[cfg(target_arch = "wasm32")]
    {
        let _ = batch;
        // A row that does not fit into 32 bits is beyond any batch; the host reports that.
        crate::bindings::klines::consumer::host::exact(u32::try_from(row).unwrap_or(u32::MAX))
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::exact(batch, row)
}
