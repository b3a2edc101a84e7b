//! A report as text: each problem with its line and a caret, drawn by `miette`.
//!
//! Shows one line per problem and no lines around it, because those may hold secrets.

use std::fmt;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::{Diagnostic, Report, Severity};
use crate::config::place::{Place, Quote};

/// Renders all problems and a line that counts them.
pub(super) fn report(report: &Report, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_context_lines(0).with_links(false);
    let mut text = String::new();
    for diagnostic in report.sorted() {
        let drawn = Drawn::new(diagnostic);
        if handler.render_report(&mut text, &drawn).is_err() {
            text.push_str(&diagnostic.message);
        }
        text.push('\n');
    }
    text.push_str(&counted(report.count(Severity::Error), "error"));
    if report.count(Severity::Warning) > 0 {
        text.push_str(", ");
        text.push_str(&counted(report.count(Severity::Warning), "warning"));
    }
    text.push('\n');
    text
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// One problem in the form that `miette` draws.
struct Drawn<'a> {
    diagnostic: &'a Diagnostic,
    /// The line to show, if it may be shown, and the label on it.
    source: Option<(Box<dyn SourceCode>, LabeledSpan)>,
}

impl<'a> Drawn<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        let source = Some(&diagnostic.place).filter(|_| !diagnostic.hidden).and_then(source);
        let label = Some(diagnostic.expected.clone()).filter(|text| !text.is_empty());
        let source = source.map(|(code, start, length)| (code, LabeledSpan::new(label, start, length)));
        Self { diagnostic, source }
    }
}

/// The text to show for a place, and the range of it to underline.
fn source(place: &Place) -> Option<(Box<dyn SourceCode>, usize, usize)> {
    match place {
        Place::Toml(position) | Place::EnvFile(_, position) => {
            let code = NamedSource::new(&position.file.name, position.file.text.clone());
            Some((Box::new(code), position.span.start, position.span.len()))
        }
        Place::Variable(name, quote) => quoted(&format!("{name}="), quote),
        Place::Flag(flag, quote) => quoted(&format!("{flag} "), quote),
        Place::Default => None,
    }
}

fn quoted(name: &str, quote: &Quote) -> Option<(Box<dyn SourceCode>, usize, usize)> {
    let shown = !quote.text.is_empty();
    shown.then(|| {
        let code: Box<dyn SourceCode> = Box::new(format!("{name}{}", quote.text));
        (code, name.len() + quote.span.start, quote.span.len())
    })
}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match &self.diagnostic.place {
            Place::Default => None,
            // The snippet's own header says it.
            Place::Toml(_) if self.source.is_some() => None,
            place => Some(Box::new(place)),
        }
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.diagnostic.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        let expected = &self.diagnostic.expected;
        let unlabelled = self.source.is_none() && !expected.is_empty();
        match (unlabelled, &self.diagnostic.nearest) {
            (true, Some(nearest)) => Some(Box::new(format!("expected {expected}; did you mean `{nearest}`?"))),
            (true, None) => Some(Box::new(format!("expected {expected}"))),
            (false, Some(nearest)) => Some(Box::new(format!("did you mean `{nearest}`?"))),
            (false, None) => None,
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|(code, _)| &**code)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source
            .as_ref()
            .map(|(_, label)| -> Box<dyn Iterator<Item = LabeledSpan>> { Box::new(std::iter::once(label.clone())) })
    }
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.diagnostic.message)
    }
}

impl fmt::Debug for Drawn<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.diagnostic.fmt(out)
    }
}

impl std::error::Error for Drawn<'_> {}
