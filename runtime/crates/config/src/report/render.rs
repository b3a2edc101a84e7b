//! Renders a report as text with `miette`: each problem with its line and a caret.
//!
//! Shows one line per problem, with possible secrets masked, and no lines around it.

use std::fmt;
use std::ops::Range;

use klines_domain::count::counted;
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan,
    SpanContents,
};

use super::{Diagnostic, Report, Severity};
use crate::mask::{self, Shown};
use crate::place::{Place, Position, Quote};

/// Renders all problems, and a line with their number.
pub(super) fn report(report: &Report, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
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

/// One problem in the form that `miette` draws.
struct Drawn<'a> {
    diagnostic: &'a Diagnostic,
    /// The line to show; `None` if there is none or it may be secret.
    line: Option<Line>,
}

impl<'a> Drawn<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        let line = if diagnostic.hidden { None } else { Line::of(&diagnostic.place) };
        Self { diagnostic, line }
    }
}

/// One line of a file, or a variable or flag as the user would type it.
#[derive(Debug)]
struct Line {
    /// The name of the file; `None` for a variable or a flag.
    name: Option<String>,
    text: String,
    /// The line number, from 0.
    number: usize,
    /// The byte range of `text` to underline.
    span: Range<usize>,
}

impl Line {
    fn of(place: &Place) -> Option<Self> {
        match place {
            // Hand-written klines of a test case: lines of JSON, which contain no secrets.
            Place::Toml(position) if position.file.name.ends_with(".ndjson") => {
                Some(Self::of_file(position, |file, line, span| Shown {
                    text: file.get(line).unwrap_or_default().to_owned(),
                    span,
                }))
            }
            Place::Toml(position) => Some(Self::of_file(position, mask::toml_line)),
            Place::EnvFile(name, position) => Some(Self::of_file(position, |file, line, span| {
                mask::variable_line(name, file.get(line).unwrap_or_default(), span)
            })),
            Place::Variable(name, quote) => Self::of_quote(name, "=", quote),
            Place::Flag(flag, quote) => Self::of_quote(flag, " ", quote),
            Place::Default => None,
        }
    }

    /// Returns the first line of the position.
    fn of_file(position: &Position, mask: impl Fn(&str, Range<usize>, Range<usize>) -> Shown) -> Self {
        let Position { file, span } = position;
        let (before, after) = file.text.split_at_checked(span.start).unwrap_or((&file.text, ""));
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = span.start + after.find(['\r', '\n']).unwrap_or(after.len());
        let number = before.matches('\n').count();
        let span = span.start.saturating_sub(start)..span.end.min(end).saturating_sub(start);
        let Shown { text, span } = mask(&file.text, start..end, span);
        Self { name: Some(file.name.clone()), text, number, span }
    }

    fn of_quote(name: &str, between: &str, quote: &Quote) -> Option<Self> {
        let begin = name.len() + between.len();
        let span = begin + quote.span.start..begin + quote.span.end;
        let Shown { text, span } = mask::variable_line(name, &format!("{name}{between}{}", quote.text), span);
        Some(Self { name: None, text, number: 0, span }).filter(|_| !quote.text.is_empty())
    }
}

impl SourceCode for Line {
    /// Returns the span alone if no lines around it are wanted (`miette` then asks for its column), else the whole
    /// line.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        _lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let whole = lines_before > 0;
        let start = if whole { 0 } else { span.offset() };
        let end = if whole { self.text.len() } else { start + span.len() };
        let (before, text) = self.text.get(..start).zip(self.text.get(start..end)).ok_or(MietteError::OutOfBounds)?;
        let (column, span) = (before.chars().count(), SourceSpan::from(start..end));
        let (bytes, lines) = (text.as_bytes(), self.number + 1);
        Ok(Box::new(match &self.name {
            Some(name) => MietteSpanContents::new_named(name.clone(), bytes, span, self.number, column, lines),
            None => MietteSpanContents::new(bytes, span, self.number, column, lines),
        }))
    }
}

impl miette::Diagnostic for Drawn<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match &self.diagnostic.place {
            Place::Default => None,
            // The header of the snippet shows the place.
            Place::Toml(_) | Place::EnvFile(..) if self.line.is_some() => None,
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
        let unlabelled = self.line.is_none() && !expected.is_empty();
        match (unlabelled, &self.diagnostic.nearest) {
            (true, Some(nearest)) => Some(Box::new(format!("expected {expected}; did you mean `{nearest}`?"))),
            (true, None) => Some(Box::new(format!("expected {expected}"))),
            (false, Some(nearest)) => Some(Box::new(format!("did you mean `{nearest}`?"))),
            (false, None) => None,
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.line.as_ref().map(|line| line as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let line = self.line.as_ref()?;
        let text = Some(self.diagnostic.expected.clone()).filter(|text| !text.is_empty());
        Some(Box::new(std::iter::once(LabeledSpan::new(text, line.span.start, line.span.len()))))
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
