//! Takes a changed configuration while a run goes on: reads the same layers again, and applies what can change. Everything
//! else needs a restart, and is named. A configuration that is refused changes nothing.

mod consumers;
mod files;

use std::fmt;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use klines_config::{Config, Diagnostic, Place, Report};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

pub use self::consumers::Consumers;
pub use self::files::Watch;
use super::exchange::{self, Choices};
use super::{ending, output};
use crate::cli::RunArgs;

/// A part of the configuration that can change while a run goes on.
pub trait Part: Send + Sync {
    /// Returns whether the part applies a changed value of this key.
    fn takes(&self, key: &str) -> bool;

    /// Checks whether a configuration can be applied, and prepares that. Nothing is applied if a part refuses it.
    fn check(&self, _: &Config) -> Report {
        Report::default()
    }

    /// Applies the configuration that was checked last.
    fn apply(&self, config: &Config) -> Effects;
}

/// What became of a part of a configuration that was applied.
#[derive(Debug, Default)]
pub struct Effects {
    /// What needs a restart all the same.
    pub pending: Vec<String>,
    /// What does not run, and why.
    pub failed: Vec<String>,
}

/// What became of a configuration.
#[derive(Debug)]
pub enum Outcome {
    /// It is refused, and the old one stays.
    Refused(Report),
    /// It is accepted.
    Taken {
        /// The keys whose new values are applied.
        applied: Vec<String>,
        /// What differs from the start of the run and needs a restart.
        pending: Vec<String>,
        /// What was applied and does not run, and why.
        failed: Vec<String>,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(report) => out.write_str(report.render(false, output::WIDTH).trim_end()),
            Self::Taken { applied, pending, failed } => {
                let parts = [("applied", applied), ("needs a restart", pending), ("failed", failed)];
                let parts = parts.iter().filter(|(_, keys)| !keys.is_empty());
                let parts: Vec<String> = parts.map(|(what, keys)| format!("{what}: {}", keys.join(", "))).collect();
                if parts.is_empty() { out.write_str("nothing has changed") } else { out.write_str(&parts.join("; ")) }
            }
        }
    }
}

/// Reads the configuration of a run again and applies it; clones share their state.
#[derive(Clone)]
pub struct Reconfigurer(Arc<Shared>);

struct Shared {
    args: RunArgs,
    parts: Vec<Box<dyn Part>>,
    /// The configuration of the start.
    started: Config,
    /// The configuration that was last accepted.
    taken: Mutex<Config>,
}

impl Reconfigurer {
    /// Returns a reconfigurer of a run that was started with `config`.
    #[must_use]
    pub fn new(args: &RunArgs, config: &Config, parts: Vec<Box<dyn Part>>) -> Self {
        let (started, taken) = (config.clone(), Mutex::new(config.clone()));
        Self(Arc::new(Shared { args: args.clone(), parts, started, taken }))
    }

    /// Reads the configuration again and applies it, changed or not. Blocks the thread.
    #[must_use]
    pub fn reload(&self) -> Outcome {
        let nothing = || Outcome::Taken { applied: Vec::new(), pending: Vec::new(), failed: Vec::new() };
        self.take(true).unwrap_or_else(nothing)
    }

    /// Reads the configuration again and applies it if it has changed, as after a change of a file.
    fn reload_if_changed(&self) {
        let _ = self.take(false);
    }

    /// Returns `None` if nothing has changed and `always` is not set.
    fn take(&self, always: bool) -> Option<Outcome> {
        let Shared { args, parts, started, taken } = &*self.0;
        // A poisoned lock is safe: the configuration in it is complete.
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = klines_config::load(args.sources()).and_then(|(mut config, mut warnings)| {
            if args.demo {
                // What the demo has replaced stays so.
                config.exchange = started.exchange.clone();
                config.store.enabled = started.store.enabled;
                config.redis.spill = started.redis.spill;
            }
            if config.cluster.role != started.cluster.role {
                // The role needs a restart, and the consumers belong to it.
                config.consumers.clone_from(&started.consumers);
            }
            config.adapt_to_role();
            if taken.has_file() && !config.has_file() {
                let gone = Diagnostic::error(Place::Default, "klines.toml was read before and is gone");
                warnings.push(
                    gone.expected("the file, empty if all keys are to have their defaults, or a restart without it"),
                );
            }
            parts.iter().for_each(|part| warnings.merge(part.check(&config)));
            if warnings.is_refusal() { Err(warnings) } else { Ok((config, warnings)) }
        });
        let (config, mut warnings) = match loaded {
            Ok(found) => found,
            Err(report) => {
                warn!("the configuration is refused, the old one stays");
                output::report(&report);
                return Some(Outcome::Refused(report));
            }
        };
        let (applied, waiting) = (taken.changes(&config), started.changes(&config));
        if !always && applied.is_empty() {
            return None;
        }
        warnings.merge(exchange::warnings(&config));
        output::report(&warnings);
        let is_live = |key: &String| parts.iter().any(|part| part.takes(key));
        let mut pending: Vec<String> = waiting.into_iter().filter(|key| !is_live(key)).collect();
        let mut failed = Vec::new();
        for effects in parts.iter().map(|part| part.apply(&config)) {
            pending.extend(effects.pending);
            failed.extend(effects.failed);
        }
        *taken = config;
        let outcome = Outcome::Taken { applied: applied.into_iter().filter(is_live).collect(), pending, failed };
        info!(%outcome, "configuration read again");
        Some(outcome)
    }

    /// Reloads the configuration at each SIGHUP, unless the run has a terminal, whose end that signal means. Never
    /// completes.
    pub async fn reload_at_hangup(&self) {
        let hangup = (!ending::ignores_hangup() && !has_terminal()).then(|| signal(SignalKind::hangup()));
        let Some(Ok(mut hangup)) = hangup else { return std::future::pending().await };
        while hangup.recv().await.is_some() {
            info!(signal = "SIGHUP", "reading the configuration again");
            let reconfigurer = self.clone();
            // What became of it is in the log.
            let _ = spawn_blocking(move || reconfigurer.reload()).await;
        }
    }
}

/// Returns whether the process has a controlling terminal.
#[must_use]
pub fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// The watched symbols.
pub struct Symbols(pub Choices);

impl Part for Symbols {
    fn takes(&self, key: &str) -> bool {
        let keys = ["categories", "symbols", "load_all", "symbols_limit", "quote", "dated"];
        key.strip_prefix("exchange.").is_some_and(|key| keys.contains(&key))
    }

    fn apply(&self, config: &Config) -> Effects {
        let wanted = exchange::wanted(config);
        self.0.choose(&wanted);
        let unknown = self.0.unknown(&wanted).into_iter();
        let pending = unknown.map(|category| format!("the category {category}")).collect();
        Effects { pending, ..Effects::default() }
    }
}

/// The intervals of the klines.
pub struct Intervals(pub Choices);

impl Part for Intervals {
    fn takes(&self, key: &str) -> bool {
        key == "klines.intervals"
    }

    fn apply(&self, config: &Config) -> Effects {
        self.0.choose_intervals(&config.klines.intervals);
        Effects::default()
    }
}
