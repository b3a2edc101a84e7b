//! What guests wrote to the log, and what the runtime wrote about them, by consumer. Tests run side by side, so that each uses a name of its own.

use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Mutex, MutexGuard, OnceLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// Begins to record; more calls change nothing.
pub fn record() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        // Another module of this binary may have been first with a subscriber of its own; then the lines are missed
        // and the test that looks for them says so.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Recorder));
    });
}

/// Lines of the consumer of that name.
pub fn lines(name: &str) -> Vec<String> {
    all().get(name).cloned().unwrap_or_default()
}

/// What the runtime itself said about that consumer.
pub fn warnings(name: &str) -> Vec<String> {
    lines(&about(name))
}

/// No consumer has such a name.
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
        let mut line = Line::default();
        event.record(&mut line);
        if event.metadata().target() == "consumer" {
            all().entry(line.name).or_default().push(line.message);
        } else if let Some(consumer) = line.consumer {
            all().entry(about(&consumer)).or_default().push(line.message);
        }
    }
}

#[derive(Default)]
struct Line {
    name: String,
    consumer: Option<String>,
    message: String,
}

impl Visit for Line {
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
