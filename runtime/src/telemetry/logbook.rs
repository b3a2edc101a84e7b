//! The last lines of the log about each consumer, kept for whoever asks while the run goes on: what guests log and
//! what the runtime says of them. Bounded by lines and bytes; writes nothing anywhere.

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

/// Lines that are kept of one consumer.
pub const MOST_LINES: usize = 1_000;
/// Bytes of text that are kept of one consumer.
const MOST_BYTES: usize = 256 << 10;
/// Bytes of one line; the rest is cut.
const MOST_OF_ONE: usize = 4 << 10;
/// Names come from the configuration, so that this is far more than there are.
const MOST_NAMES: usize = 1_000;
/// What guests log; `name` says whose it is.
pub(super) const GUESTS: &str = "consumer";

/// One line about a consumer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts this consumer's lines from 1.
    pub number: u64,
    /// When, in UTC, with milliseconds.
    pub at: String,
    /// Upper-case level.
    pub level: String,
    /// Whether the consumer said it itself; otherwise the runtime says it of the consumer.
    pub own: bool,
    /// The words, without anything that drives a terminal.
    pub text: String,
}

/// The lines of all consumers.
#[derive(Debug)]
pub struct Logbook {
    rings: Mutex<BTreeMap<String, Ring>>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    next: u64,
}

static LOGBOOK: Logbook = Logbook::new();

/// The logbook of this process, which the log feeds.
#[must_use]
pub fn logbook() -> &'static Logbook {
    &LOGBOOK
}

impl Logbook {
    const fn new() -> Self {
        Self { rings: Mutex::new(BTreeMap::new()), changed: Notify::const_new() }
    }

    /// Returns the last lines of a consumer, at most `most`, oldest first.
    #[must_use]
    pub fn last(&self, name: &str, most: usize) -> Vec<Line> {
        let rings = self.rings();
        let Some(ring) = rings.get(name) else { return Vec::new() };
        ring.lines.iter().skip(ring.lines.len().saturating_sub(most)).cloned().collect()
    }

    /// Returns the lines of a consumer after line `number`, at most `most`, oldest first. Lines that are no longer
    /// kept are left out: the numbers tell.
    #[must_use]
    pub fn after(&self, name: &str, number: u64, most: usize) -> Vec<Line> {
        let rings = self.rings();
        let lines = rings.get(name).into_iter().flat_map(|ring| &ring.lines);
        lines.filter(|line| line.number > number).take(most).cloned().collect()
    }

    /// Number of a consumer's newest line; 0 when there is none.
    #[must_use]
    pub fn newest(&self, name: &str) -> u64 {
        self.rings().get(name).map_or(0, |ring| ring.next)
    }

    /// Waits for a line of any consumer that is written after this was called.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    fn write(&self, name: &str, level: &str, own: bool, text: &str) {
        let text = sanitize(text, MOST_OF_ONE);
        let at = format!("{:.3}", jiff::Timestamp::now());
        {
            let mut rings = self.rings();
            if !rings.contains_key(name) && rings.len() >= MOST_NAMES {
                return;
            }
            let ring = rings.entry(name.to_owned()).or_default();
            ring.next += 1;
            ring.bytes += text.len();
            ring.lines.push_back(Line { number: ring.next, at, level: level.to_owned(), own, text });
            while ring.lines.len() > MOST_LINES || ring.bytes > MOST_BYTES {
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

/// Puts what the log says about consumers into a logbook.
pub(super) struct Keeper<'a>(pub(super) &'a Logbook);

impl<S: Subscriber> Layer<S> for Keeper<'static> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let is_guest = metadata.target() == GUESTS;
        let whose = if is_guest { "name" } else { "consumer" };
        if metadata.fields().field(whose).is_none() {
            return;
        }
        let mut words = Words { whose, name: String::new(), message: String::new(), fields: String::new() };
        event.record(&mut words);
        if !words.name.is_empty() {
            self.0.write(&words.name, metadata.level().as_str(), is_guest, &(words.message + &words.fields));
        }
    }
}

/// An event's message, its other fields, and whose it is.
struct Words {
    whose: &'static str,
    name: String,
    message: String,
    fields: String,
}

impl Words {
    fn take(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name if name == self.whose => write!(self.name, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.whose {
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
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keeper(book)), write);
        book
    }

    #[test]
    fn lines_of_guests_and_of_the_runtime_are_kept_by_consumer() {
        let book = logged(|| {
            tracing::info!(target: "consumer", name = "mine", "hello {}", 1);
            tracing::warn!(consumer = "mine", lost = 3, error = "a\nb", "consumer is behind");
            tracing::info!(consumer = "other", "consumer started");
            tracing::info!(name = "mine", "a field of that name is not enough");
            tracing::info!("nobody's");
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
    fn a_flood_keeps_its_end_within_bounds() {
        let book = Logbook::new();
        (0..MOST_LINES + 5).for_each(|number| book.write("a", "INFO", true, &number.to_string()));
        let lines = book.last("a", usize::MAX);
        assert_eq!((lines.len(), lines[0].number, lines[0].text.as_str()), (MOST_LINES, 6, "5"));
        (0..200).for_each(|_| book.write("b", "INFO", true, &"é".repeat(MOST_OF_ONE)));
        let bytes: usize = book.last("b", usize::MAX).iter().map(|line| line.text.len()).sum();
        assert!(bytes <= MOST_BYTES && bytes > MOST_BYTES / 2, "{bytes}");
        assert_eq!(book.after("b", book.newest("b"), 10), []);
    }

    #[test]
    fn nothing_that_drives_a_terminal_is_kept() {
        let book = Logbook::new();
        book.write("a", "INFO", true, "\u{1b}[31mred\u{202e}\n2026 INFO ok");
        assert_eq!(book.last("a", 1)[0].text, "[31mred 2026 INFO ok");
    }
}
