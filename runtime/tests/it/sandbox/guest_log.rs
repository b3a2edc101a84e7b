//! Records by consumer what guests write to the log, and what the runtime logs about them. Tests run in parallel, so
//! that each uses its own consumer name.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, MutexGuard, OnceLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// Starts to record; further calls have no effect.
pub fn record() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Another module of this binary may have set its own subscriber first; then the lines are missing and the test
        // that looks for them fails.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder));
    });
}

/// Returns the lines that the guest of this consumer logged.
pub fn lines(name: &str) -> Vec<String> {
    all().get(name).cloned().unwrap_or_default()
}

/// Returns the lines that the runtime logged about this consumer.
pub fn warnings(name: &str) -> Vec<String> {
    lines(&about(name))
}

/// Returns the key of the runtime's lines about a consumer; no consumer has such a name.
fn about(name: &str) -> String {
    format!("about {name}")
}

fn all() -> MutexGuard<'static, HashMap<String, Vec<String>>> {
    static LINES: OnceLock<Mutex<HashMap<String, Vec<String>>>> = OnceLock::new();
    LINES.get_or_init(Mutex::default).lock().unwrap()
}

struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = LogLine::default();
        event.record(&mut line);
        if event.metadata().target() == "consumer" {
            all().entry(line.name).or_default().push(line.message);
        } else if let Some(consumer) = line.consumer {
            all().entry(about(&consumer)).or_default().push(line.message);
        }
    }
}

#[derive(Default)]
struct LogLine {
    name: String,
    consumer: Option<String>,
    message: String,
}

impl Visit for LogLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "name" {
            value.clone_into(&mut self.name);
        } else if field.name() == "consumer" {
            self.consumer = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.message, "{value:?}").unwrap();
        }
    }
}
