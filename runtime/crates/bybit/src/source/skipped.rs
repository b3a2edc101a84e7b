//! Counts the lines of files that are of no kind that is read.

use std::fmt;

use klines_domain::count::counted;
use serde::de::IgnoredAny;

/// Lines that are of no kind that is read, by what they are instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Lines that begin with `#`.
    pub comments: u64,
    /// Other lines that are not JSON objects.
    pub texts: u64,
    /// JSON objects that are neither frames nor records.
    pub objects: u64,
    /// Records that are neither a connection's opening nor a message.
    pub records: u64,
    /// Messages of connections to other addresses than Bybit's public streams.
    pub messages: u64,
    /// Archives whose end is missing, often with an incomplete last line.
    pub incomplete: u64,
}

impl Skipped {
    /// Counts a line that is of no known kind.
    pub fn count(&mut self, line: &[u8]) {
        match line.first() {
            Some(b'#') => self.comments += 1,
            Some(b'{') if serde_json::from_slice::<IgnoredAny>(line).is_ok() => self.objects += 1,
            _ => self.texts += 1,
        }
    }

    /// Returns whether no line was skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the counts of another input.
    pub const fn add(&mut self, other: &Self) {
        self.comments += other.comments;
        self.texts += other.texts;
        self.objects += other.objects;
        self.records += other.records;
        self.messages += other.messages;
        self.incomplete += other.incomplete;
    }
}

impl fmt::Display for Skipped {
    /// Writes a sentence: `skipped 2 comments, 1 line of text; the end of 1 archive is missing`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = [
            (self.comments, "comment", ""),
            (self.texts, "line", " of text"),
            (self.objects, "JSON object", " of another kind"),
            (self.records, "record", " of another kind"),
            (self.messages, "message", " of other connections"),
        ];
        let kinds = kinds.into_iter().filter(|(count, ..)| *count > 0);
        let kinds: Vec<String> = kinds.map(|(count, noun, of)| counted(count, noun) + of).collect();
        let skipped = (!kinds.is_empty()).then(|| format!("skipped {}", kinds.join(", ")));
        let incomplete =
            (self.incomplete > 0).then(|| format!("the end of {} is missing", counted(self.incomplete, "archive")));
        out.write_str(&skipped.into_iter().chain(incomplete).collect::<Vec<_>>().join("; "))
    }
}
