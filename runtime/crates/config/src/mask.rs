//! Masks the parts of a quoted line that may hold a secret, by the keys that they belong to. Works on text, so that
//! secrets in a line that cannot be parsed are masked too.
//!
//! If in doubt, the text is masked: a value without a clear end is masked to the end of its line, and a line that
//! belongs to no key is masked entirely.

mod owner;
#[cfg(test)]
mod tests;

use std::ops::Range;

use klines_domain::secret::{MASK, is_secret_name, redact_url};

use self::owner::{Kind, Owner, key_before};

/// A line that may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The line, with parts of it masked.
    pub(super) text: String,
    /// The part that the diagnostic is about.
    pub(super) span: Range<usize>,
}

/// Masks a line of a TOML file. `line` is its byte range in the file; `span` is relative to the start of the line.
pub(super) fn toml_line(file: &str, line: Range<usize>, span: Range<usize>) -> Shown {
    let text = file.get(line.clone()).unwrap_or_default();
    let owner = Owner::of_line_after(file.get(..line.start).unwrap_or_default());
    let mut cuts = Cuts { text, cuts: Vec::new() };
    let kind = Kind::of(text);
    let is_owned = owner.is_open && (kind == Kind::Stray || !owner.is_loose);
    match kind {
        _ if is_owned && owner.is_secret => cuts.all(),
        Kind::Stray if !is_owned => cuts.all(),
        Kind::Header => {}
        _ => cuts.entries(owner.is_secret_section),
    }
    cuts.apply(span)
}

/// Masks a line of the variable `name`: `NAME=value`, or a later line of its value.
pub(super) fn variable_line(name: &str, text: &str, span: Range<usize>) -> Shown {
    let mut cuts = Cuts { text, cuts: Vec::new() };
    let value = text.find('=').filter(|at| text.get(..*at).is_some_and(|left| left.trim_end().ends_with(name)));
    match value {
        _ if !is_secret_name(name) => cuts.entries(false),
        Some(at) => cuts.cut(at + 1..text.len(), MASK.to_owned()),
        None => cuts.all(),
    }
    cuts.apply(span)
}

/// Returns a value in a form that a message may quote: masked if its key names a secret, and addresses without their
/// passwords.
pub(super) fn value(key: &str, text: &str) -> String {
    if is_secret_name(key) { MASK.to_owned() } else { redact_url(text) }
}

/// Replaces `text` by `shown` where a sentence quotes it.
pub(super) fn conceal(sentence: &str, text: &str, shown: &str) -> String {
    // A shorter text is part of many words, so it is replaced only inside quotes.
    const SHORT: usize = 4;
    if text.is_empty() || text == shown {
        return sentence.to_owned();
    }
    let quoted = sentence.replace(&format!("`{text}`"), &format!("`{shown}`"));
    let quoted = quoted.replace(&format!("\"{text}\""), &format!("\"{shown}\""));
    if text.len() < SHORT { quoted } else { quoted.replace(text, shown) }
}

/// The parts of a line that are replaced, in order.
struct Cuts<'a> {
    text: &'a str,
    cuts: Vec<(Range<usize>, String)>,
}

impl<'a> Cuts<'a> {
    fn cut(&mut self, range: Range<usize>, by: String) {
        if !range.is_empty() {
            self.cuts.push((range, by));
        }
    }

    /// Masks everything but the indentation.
    fn all(&mut self) {
        let end = self.text.trim_end().len();
        self.cut(self.text.len() - self.text.trim_start().len()..end, MASK.to_owned());
    }

    /// Masks the values of secret keys (of every key if `every`), and passwords in addresses.
    fn entries(&mut self, every: bool) {
        let mut at = 0;
        while let Some(letter) = self.rest(at).chars().next() {
            at = match letter {
                '=' => self.entry(at, every),
                // `key: value` is not TOML, so it is an error whose line is shown.
                ':' if self.rest(at + 1).starts_with(' ') && !self.text.contains('=') => self.entry(at, every),
                '"' | '\'' => self.quoted(at, letter),
                _ => self.bare(at),
            };
        }
    }

    /// Masks the value of the key that ends at `at`. Returns where to continue.
    fn entry(&mut self, at: usize, every: bool) -> usize {
        let value = at + 1 + self.rest(at + 1).len() - self.rest(at + 1).trim_start().len();
        let key = key_before(self.text, at);
        let rest = self.rest(value);
        if !(every || key.split('.').any(is_secret_name)) || is_switch(rest) {
            return value;
        }
        match rest.chars().next().filter(|letter| matches!(letter, '"' | '\'')).and_then(|quote| closing(rest, quote)) {
            Some(length) if ends_well(self.rest(value + length)) => {
                self.cut(value..value + length, MASK.to_owned());
                value + length
            }
            _ => {
                self.cut(value..self.text.len(), MASK.to_owned());
                self.text.len()
            }
        }
    }

    fn quoted(&mut self, at: usize, quote: char) -> usize {
        let ends = |length: &usize| {
            let rest = self.rest(at + *length);
            ends_well(rest) || rest.trim_start().starts_with(['=', '.', '#'])
        };
        let Some(length) = closing(self.rest(at), quote).filter(ends) else {
            return self.unbounded(at).unwrap_or(at + 1);
        };
        let inner = at + 1..at + length - 1;
        let text = self.text.get(inner.clone()).unwrap_or_default();
        let shown = redact_url(text);
        if shown != text {
            self.cut(inner, shown);
        }
        at + length
    }

    /// Handles a word, or a letter between words. Returns where to continue.
    fn bare(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        let is_end = |letter: char| letter.is_whitespace() || "=\"',[]{}#".contains(letter);
        let length = rest.find(is_end).unwrap_or(rest.len());
        if rest.get(..length).is_some_and(|word| word.contains("://") || word.contains('@'))
            && let Some(end) = self.unbounded(at)
        {
            return end;
        }
        let first = rest.chars().next().map_or(1, char::len_utf8);
        // Stops before a colon that may end a key.
        let length = rest.get(..length).and_then(|word| word.strip_suffix(':')).map_or(length, str::len);
        at + length.max(first)
    }

    /// Masks all of the line after the scheme of an address without a clear end, if it has a password.
    fn unbounded(&mut self, at: usize) -> Option<usize> {
        let rest = self.rest(at);
        if redact_url(rest) == rest {
            return None;
        }
        let scheme = rest.find("://").map_or(0, |found| found + 3);
        self.cut(at + scheme..self.text.len(), MASK.to_owned());
        Some(self.text.len())
    }

    fn rest(&self, at: usize) -> &'a str {
        self.text.get(at..).unwrap_or_default()
    }

    /// Returns the line with the replacements. A span that touches a replaced part covers the whole replacement.
    fn apply(self, span: Range<usize>) -> Shown {
        let (mut text, mut copied) = (String::new(), 0);
        let mut moved = span.clone();
        for (range, by) in &self.cuts {
            text.push_str(self.text.get(copied..range.start).unwrap_or_default());
            let here = text.len()..text.len() + by.len();
            text.push_str(by);
            copied = range.end;
            if span.start >= range.end {
                moved.start = here.end + (span.start - range.end);
            } else if span.start >= range.start {
                moved.start = here.start;
            }
            if span.end >= range.end {
                moved.end = here.end + (span.end - range.end);
            } else if span.end > range.start {
                moved.end = here.end;
            }
        }
        text.push_str(self.text.get(copied..).unwrap_or_default());
        moved.end = moved.end.max(moved.start);
        Shown { text, span: moved }
    }
}

/// Returns the length of the quoted text at the start of `text`, quotes included; `None` if the quote is not closed.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if quote == '"' => is_escaped = true,
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Returns whether `rest` can follow a quoted value; if not, the quote is part of the value.
fn ends_well(rest: &str) -> bool {
    let rest = rest.trim_start();
    let Some(next) = rest.strip_prefix(',') else { return rest.is_empty() || rest.starts_with(['}', ']']) };
    // The next key of an inline table, or the end of the line.
    next.trim().is_empty() || next.find('=').is_some_and(|at| next.trim_start().starts_with(key_before(next, at)))
}

/// Returns whether the value is `true` or `false`, which is not masked: it shows only whether there is a secret.
fn is_switch(value: &str) -> bool {
    matches!(value.split(['#', ',', '}']).next().unwrap_or_default().trim(), "true" | "false")
}
