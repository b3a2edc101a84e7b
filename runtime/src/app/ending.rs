//! How a run ends: a signal or the duration of `--for`, and what a second signal does.
//!
//! SIGHUP, which a closed terminal sends, ends a run like SIGTERM. A run without a terminal reads its configuration again
//! instead (`reconfigure`). It stays ignored if it was ignored at the start, as under `nohup`.

use anyhow::Context;
use klines_config::quantity::HumanDuration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::cli::EXIT_FAILED;

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// A signal was received.
    Signal,
    /// The duration of `--for` has passed.
    Time,
}

impl EndReason {
    /// Returns the result of a run that never connected to the exchange: an error, unless a signal ended it, because
    /// then the user has seen the warnings.
    pub fn without_exchange(self) -> anyhow::Result<()> {
        match self {
            Self::Signal => Ok(()),
            Self::Time => Err(anyhow::anyhow!("the exchange was not reached before the run ended")),
        }
    }
}

/// What SIGHUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// It ends the run.
    Ends,
    /// Something else handles it.
    IsHandled,
}

/// Waits for a signal or the end of `duration`. The next SIGINT or SIGTERM after that calls `before_exit` and ends the
/// process at once.
///
/// # Errors
/// When signal handlers cannot be installed.
pub async fn wait_for_end(
    duration: Option<HumanDuration>,
    hangup: Hangup,
    before_exit: impl FnOnce() + Send + 'static,
) -> anyhow::Result<EndReason> {
    let mut signals = EndSignals::new(hangup)?;
    let elapsed = async {
        match duration {
            Some(HumanDuration(duration)) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let reason = tokio::select! {
        signal = signals.first() => {
            info!(signal, "ending; a second signal ends at once");
            EndReason::Signal
        }
        () = elapsed => {
            info!("the duration of --for has passed, ending");
            EndReason::Time
        }
    };
    tokio::spawn(async move {
        signals.second().await;
        warn!("second signal: ending at once");
        before_exit();
        end_at_once();
    });
    Ok(reason)
}

/// The signals that end a run. While it exists, none of them ends the process by itself.
struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if SIGHUP is ignored, or ends nothing.
    hangup: Option<Signal>,
}

impl EndSignals {
    fn new(hangup: Hangup) -> anyhow::Result<Self> {
        let handler = |kind| signal(kind).context("installing a signal handler");
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            hangup: match hangup {
                Hangup::Ends if !ignores_hangup() => Some(handler(SignalKind::hangup())?),
                Hangup::Ends | Hangup::IsHandled => None,
            },
        })
    }

    /// Waits for any of the signals. Returns its name.
    async fn first(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }

    /// Waits for the next signal that ends the process at once. SIGHUP does not: both a shell and the kernel send one
    /// when a terminal is closed.
    async fn second(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns whether SIGHUP was ignored when the process started. Only Linux reports that; on other systems it counts as not ignored.
pub fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // Bit 0 is signal 1, which is SIGHUP.
    mask & 1 != 0
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "a second signal must end the process at once")]
fn end_at_once() -> ! {
    std::process::exit(i32::from(EXIT_FAILED))
}
