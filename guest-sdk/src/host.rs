//! What the runtime offers to a consumer. Outside a component the test host of `testing` answers instead.

use crate::{Batch, ExactKline, Level, TerminalInfo};

/// Writes one line to the runtime's log, tagged with the consumer's name. The macros [`info!`](crate::info) and its
/// kin are the usual way.
///
/// The runtime removes control characters, cuts text over 1 KiB and prints at most 100 lines a second.
pub fn log(level: Level, message: &str) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::klines::consumer::host::log(level, message);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::log(level, message);
}

/// Returns the terminal behind standard output; `None` if there is none or this consumer may not write to it.
#[must_use]
pub fn terminal() -> Option<TerminalInfo> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::klines::consumer::host::terminal();
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::terminal();
}

/// Returns the exact digits of a row of the batch in hand.
pub(crate) fn exact(batch: &Batch, row: usize) -> ExactKline {
    #[cfg(target_arch = "wasm32")]
    {
        let _ = batch;
        // A row that does not fit is out of any batch's range, which is what the host will say.
        crate::bindings::klines::consumer::host::exact(u32::try_from(row).unwrap_or(u32::MAX))
    }
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::exact(batch, row)
}
