//! What the components of a run may read of the past, and how long they wait for it.

use std::sync::Arc;
use std::time::Duration;

use klines_config::Config;
use klines_delivery::Subscription;
use klines_delivery::seeded::Seeded;
use klines_wasm::Past;

use super::recording;

/// How long components that read the past wait for the first windows.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the past of a run.
#[must_use]
pub fn of_run(config: &Config) -> Past {
    let Some(history) = recording::history(config) else {
        return Past::unknown("this run stores no klines: set `enabled = true` in [store], and run without --demo");
    };
    // Without repairs, the first windows are never learnt.
    let patience = if config.klines.repair > 0 { PATIENCE } else { Duration::ZERO };
    Past { history, allowed: Subscription::default(), seeded: Some(Arc::new(Seeded::within(patience))) }
}

/// Returns the past of a replay.
#[must_use]
pub fn of_replay() -> Past {
    Past::unknown("a replay reads no stored klines, because they are not those of the recording: use `klines run`")
}
