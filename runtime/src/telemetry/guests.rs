//! Formats log lines of guests as text: quoted, after the consumer's name, so that no guest can forge a line of the
//! runtime. In JSON, the target and the name identify the guest.

use std::fmt;

use klines_domain::sanitize::quoted;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Utc;
use super::logbook::GUESTS;

/// Formats lines of guests; delegates all others to the inner format.
pub(super) struct WithGuests<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithGuests<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if event.metadata().target() != GUESTS {
            return self.0.format_event(context, out, event);
        }
        let mut line = GuestLine::default();
        event.record(&mut line);
        let level = event.metadata().level();
        let [dim, colour, end] =
            if out.has_ansi_escapes() { ["\u{1b}[2m", colour(*level), "\u{1b}[0m"] } else { [""; 3] };
        out.write_str(dim)?;
        Utc.format_time(&mut out)?;
        writeln!(out, "{end} {colour}{level:>5}{end} {}: {}", line.name, quoted(&line.message))
    }
}

/// Returns the colour that the inner format uses for `level`.
fn colour(level: Level) -> &'static str {
    match level {
        Level::TRACE => "\u{1b}[35m",
        Level::DEBUG => "\u{1b}[34m",
        Level::INFO => "\u{1b}[32m",
        Level::WARN => "\u{1b}[33m",
        Level::ERROR => "\u{1b}[31m",
    }
}

/// The consumer's name and the message of a guest's log event.
#[derive(Default)]
struct GuestLine {
    name: String,
    message: String,
}

impl Visit for GuestLine {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "name" => value.clone_into(&mut self.name),
            "message" => value.clone_into(&mut self.message),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
