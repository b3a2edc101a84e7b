//! Keeps the last log lines about each consumer in memory, for `klines consumer logs`: those of its guest and those of
//! the runtime about it. Bounded by lines and bytes; writes no file.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use klines_domain::sanitize::sanitize;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Largest number of lines kept per consumer.
pub const MAX_LINES: usize = 1_000;
/// Largest number of text bytes kept per consumer.
const MAX_BYTES: usize = 256 << 10;
/// Largest number of bytes of one line; the rest is cut off.
const MAX_LINE_BYTES: usize = 4 << 10;
/// Largest number of consumers. Names come from the configuration, which has far fewer.
const MAX_NAMES: usize = 1_000;
/// The target of log events of guests; their field `name` is the consumer's name.
pub(super) const GUESTS: &str = "consumer";

/// One line about a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Number of the line within the consumer's lines, from 1.
    pub number: u64,
    /// Time of the line, in UTC with milliseconds.
    pub at: String,
    /// Level in upper case.
    pub level: String,
    /// Whether the consumer logged the line itself; otherwise the runtime logged it about the consumer.
    pub own: bool,
    /// Text, without characters that control a terminal.
    pub text: String,
}

/// The log lines of all consumers.
#[derive(Debug)]
pub struct Logbook {
    rings: Mutex<BTreeMap<String, Ring>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    next: u64,
}

static LOGBOOK: Logbook = Logbook::new();

/// Returns the logbook of this process, which the log subscriber fills.
#[must_use]
pub fn logbook() -> &'static Logbook {
    &LOGBOOK
}

impl Logbook {
    const fn new() -> Self {
        Self { rings: Mutex::new(BTreeMap::new()), changed: Notify::const_new() }
    }

    /// Returns the last lines of a consumer, at most `max` of them, oldest first.
    #[must_use]
    pub fn last(&self, name: &str, max: usize) -> Vec<LogLine> {
        let rings = self.rings();
        let Some(ring) = rings.get(name) else { return Vec::new() };
        ring.lines.iter().skip(ring.lines.len().saturating_sub(max)).cloned().collect()
    }

    /// Returns the lines of a consumer after line `number`, at most `max` of them, oldest first. Lines that are no
    /// longer kept are missing; a gap in the numbers shows this.
    #[must_use]
    pub fn after(&self, name: &str, number: u64, max: usize) -> Vec<LogLine> {
        let rings = self.rings();
        let lines = rings.get(name).into_iter().flat_map(|ring| &ring.lines);
        lines.filter(|line| line.number > number).take(max).cloned().collect()
    }

    /// Returns the number of a consumer's newest line; 0 without any.
    #[must_use]
    pub fn newest(&self, name: &str) -> u64 {
        self.rings().get(name).map_or(0, |ring| ring.next)
    }

    /// Returns a future that completes when a line of any consumer is written after this call.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn write(&self, name: &str, level: &str, own: bool, text: &str) {
        let text = sanitize(text, MAX_LINE_BYTES);
        let at = format!("{:.3}", jiff::Timestamp::now());
        {
            let mut rings = self.rings();
            if !rings.contains_key(name) && rings.len() >= MAX_NAMES {
                return;
            }
            let ring = rings.entry(name.to_owned()).or_default();
            ring.next += 1;
            ring.bytes += text.len();
            ring.lines.push_back(LogLine { number: ring.next, at, level: level.to_owned(), own, text });
            while ring.lines.len() > MAX_LINES || ring.bytes > MAX_BYTES {
                let Some(oldest) = ring.lines.pop_front() else { break };
                ring.bytes -= oldest.text.len();
            }
        }
        self.changed.notify_waiters();
    }

    fn rings(&self) -> MutexGuard<'_, BTreeMap<String, Ring>> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscriber layer that records the log events about consumers in a logbook.
pub(super) struct LogbookLayer<'a>(pub(super) &'a Logbook);

impl<S: Subscriber> Layer<S> for LogbookLayer<'static> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let is_guest = metadata.target() == GUESTS;
        let name_field = if is_guest { "name" } else { "consumer" };
        if metadata.fields().field(name_field).is_none() {
            return;
        }
        let mut words = EventText { name_field, name: String::new(), message: String::new(), fields: String::new() };
        event.record(&mut words);
        if !words.name.is_empty() {
            self.0.write(&words.name, metadata.level().as_str(), is_guest, &(words.message + &words.fields));
        }
    }
}

/// The consumer, message and other fields of a log event.
struct EventText {
    name_field: &'static str,
    name: String,
    message: String,
    fields: String,
}

impl EventText {
    fn take(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a `String` cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name if name == self.name_field => write!(self.name, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Visit for EventText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.name_field {
            value.clone_into(&mut self.name);
        } else {
            self.take(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, value);
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn logged(write: impl FnOnce()) -> &'static Logbook {
        let book: &'static Logbook = Box::leak(Box::new(Logbook::new()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(LogbookLayer(book)), write);
        book
    }

    #[test]
    fn lines_of_guests_and_of_the_runtime_are_kept_by_consumer() {
        let book = logged(|| {
            tracing::info!(target: "consumer", name = "mine", "hello {}", 1);
            tracing::warn!(consumer = "mine", lost = 3, error = "a\nb", "consumer is behind");
            tracing::info!(consumer = "other", "consumer started");
            tracing::info!(name = "mine", "a field of that name is not enough");
            tracing::info!("about no consumer");
        });
        let lines = book.last("mine", 10);
        let shown: Vec<_> =
            lines.iter().map(|line| (line.number, line.own, line.level.as_str(), line.text.as_str())).collect();
        let behind = r#"consumer is behind lost=3 error="a\nb""#;
        assert_eq!(shown, [(1, true, "INFO", "hello 1"), (2, false, "WARN", behind)]);
        assert_eq!(book.last("other", 10).len(), 1);
        assert_eq!(book.after("mine", 1, 10), lines[1..]);
        assert_eq!((book.newest("mine"), book.newest("absent")), (2, 0));
    }

    #[test]
    fn many_lines_keep_the_newest_within_bounds() {
        let book = Logbook::new();
        (0..MAX_LINES + 5).for_each(|number| book.write("a", "INFO", true, &number.to_string()));
        let lines = book.last("a", usize::MAX);
        assert_eq!((lines.len(), lines[0].number, lines[0].text.as_str()), (MAX_LINES, 6, "5"));
        (0..200).for_each(|_| book.write("b", "INFO", true, &"é".repeat(MAX_LINE_BYTES)));
        let bytes: usize = book.last("b", usize::MAX).iter().map(|line| line.text.len()).sum();
        assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES / 2, "{bytes}");
        assert_eq!(book.after("b", book.newest("b"), 10), []);
    }

    #[test]
    fn terminal_control_characters_are_removed() {
        let book = Logbook::new();
        book.write("a", "INFO", true, "\u{1b}[31mred\u{202e}\n2026 INFO ok");
        assert_eq!(book.last("a", 1)[0].text, "[31mred 2026 INFO ok");
    }
}
