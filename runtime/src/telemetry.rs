//! Logging: structured lines on standard error, as text or JSON, with timestamps in UTC and milliseconds.
//!
//! Lines about consumers are also kept in the [`mod@logbook`]. This module also keeps secrets out of core dumps. Events
//! of single trades are logged at level `trace` only.

pub mod logbook;

mod guests;

use std::io::{self, IsTerminal};

use klines_config::log::{Format, Level, Log};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt};

use self::guests::WithGuests;
use self::logbook::{LogbookLayer, logbook};

/// The targets of this project's crates and of components. Other crates log from `warn` up, or from the configured
/// level if that is higher.
const OWN_TARGETS: [&str; 3] = ["klines", "bybit_sim", "consumer"];

/// The error of [`start`]: logging could not be set up.
#[derive(Debug, Error)]
#[error("logging is already set up")]
pub struct TelemetryError(#[from] TryInitError);

/// Starts logging to standard error, in colour only on a terminal and without `NO_COLOR`.
///
/// # Errors
/// [`TelemetryError`] when this process already logs.
pub fn start(log: Log) -> Result<(), TelemetryError> {
    Ok(subscriber(log, wants_color(&io::stderr()), io::stderr).try_init()?)
}

/// Returns whether colours may be written to `stream`: it is a terminal and `NO_COLOR` is not set.
#[must_use]
pub fn wants_color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Raises the limit on open files and connections to the system's maximum. If the system refuses, the limit stays.
pub fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Keeps memory, and with it secrets, out of core dumps and away from debuggers of the same user.
///
/// # Errors
/// The error of the operating system. Klines stay correct without this, so the caller logs the error and continues.
pub fn forbid_core_dumps() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Builds the subscriber.
fn subscriber<W>(log: Log, color: bool, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_timer(Utc);
    let text = WithGuests(fmt::format().with_timer(Utc).with_target(false));
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        Format::Text => layer.with_ansi(color).event_format(text).boxed(),
        Format::Json => layer.with_ansi(false).json().flatten_event(true).with_current_span(false).boxed(),
    };
    // The logbook keeps lines from `info` up even if the log itself is quieter, for `klines consumer logs`.
    let kept = targets(log.level.min(Level::Info));
    let logbook = LogbookLayer(logbook()).with_filter(kept);
    tracing_subscriber::registry().with(layer.with_filter(targets(log.level))).with(logbook)
}

fn targets(level: Level) -> Targets {
    let level = match level {
        Level::Trace => LevelFilter::TRACE,
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OWN_TARGETS.map(|name| (name, level)))
        // A component could make this crate log without limit; `klines` logs the relevant events of HTTP requests.
        .with_target("wasmtime_wasi_http", LevelFilter::OFF)
}

/// Formats the wall clock in UTC, as `2026-01-31T12:00:00.000Z`.
#[derive(Clone, Copy, Debug)]
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, out: &mut Writer<'_>) -> std::fmt::Result {
        write!(out, "{:.3}", jiff::Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A writer that collects the log.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: Log, write: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        tracing::subscriber::with_default(subscriber(log, false, move || writer.clone()), write);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_hold_time_level_message_and_fields() {
        let text = logged(Log { level: Level::Info, format: Format::Json }, || {
            tracing::info!(target: "klines::x", symbol = "BTCUSDT", dropped = 3, "queue full");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(
            (&line["message"], &line["symbol"], &line["dropped"]),
            (&"queue full".into(), &"BTCUSDT".into(), &3.into())
        );
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn a_line_of_a_guest_cannot_look_like_one_of_the_runtime() {
        let write = || {
            let forged = r#"2026-01-01T00:00:00.000Z  INFO consumer started consumer="redis" \" x"#;
            tracing::info!(target: "consumer", name = "mine", "{forged}");
            tracing::warn!(target: "klines", "of the runtime");
        };
        let text = logged(Log::default(), write);
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        let quoted = r#" INFO mine: "2026-01-01T00:00:00.000Z  INFO consumer started consumer=\"redis\" \\\" x""#;
        assert_eq!(lines, [quoted, " WARN of the runtime"]);
        let text = logged(Log { level: Level::Info, format: Format::Json }, write);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!((&line["target"], &line["name"]), (&"consumer".into(), &"mine".into()));
        assert!(line["message"].as_str().unwrap().ends_with(r#"consumer="redis" \" x"#), "{line}");
    }

    #[test]
    fn core_dumps_are_off() {
        forbid_core_dumps().unwrap();
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }

    #[test]
    fn text_lines_have_no_colours_off_a_terminal() {
        let text = logged(Log::default(), || tracing::warn!(target: "klines", symbol = "BTCUSDT", "late"));
        assert!(text.contains("WARN late symbol=\"BTCUSDT\"") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn the_level_applies_to_own_targets_and_others_log_from_warn() {
        let text = logged(Log { level: Level::Debug, format: Format::Text }, || {
            tracing::debug!(target: "klines::feed", "ours");
            tracing::info!(target: "hyper", "theirs");
            tracing::warn!(target: "hyper", "their warning");
        });
        assert!(text.contains("ours") && !text.contains("theirs") && text.contains("their warning"), "{text}");
        let text = logged(Log { level: Level::Error, format: Format::Text }, || {
            tracing::warn!(target: "klines", "a");
            tracing::warn!(target: "hyper", "b");
        });
        assert_eq!(text, "");
    }
}
