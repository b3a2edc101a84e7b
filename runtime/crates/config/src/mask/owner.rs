//! To which key a line of a TOML file belongs: its own, or one above whose value goes on. Reads line by line and by
//! looks alone, so that a broken file has owners too.

use klines_domain::secret::is_secret_name;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or a comment.
    Blank,
    /// `[section]`
    Header,
    /// `key = …`, or `key: …` as in other languages.
    Entry,
    /// Part of a value, or of nothing.
    Stray,
}

/// What the lines above say about a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// The value of a key above goes on.
    pub(super) is_open: bool,
    /// But only if the line looks like part of a value: the one above broke off.
    pub(super) is_loose: bool,
    /// That key is secret.
    pub(super) is_secret: bool,
    /// The section is secret: a part of a consumer's settings whose name says so.
    pub(super) is_secret_section: bool,
}

/// What ends a value that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// These three quotes.
    Quotes(&'static str),
    /// So many closing brackets.
    Brackets(usize),
    /// The next line that looks like anything else.
    NextEntry,
}

impl Kind {
    pub(super) fn of(line: &str) -> Self {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Self::Blank;
        }
        if header(line).is_some() {
            return Self::Header;
        }
        let ends = line.find('=').or_else(|| line.find(": "));
        match ends.map(|at| (key_before(line, at), at)) {
            // Nothing but the key may stand before it.
            Some((key, at)) if !key.is_empty() && line.get(..at).is_some_and(|left| unquoted(left) == key) => {
                Self::Entry
            }
            _ => Self::Stray,
        }
    }
}

impl Owner {
    /// Looks at everything above a line.
    pub(super) fn of_line_after(above: &str) -> Self {
        let (mut owner, mut end) = (Self::default(), None);
        for line in above.lines() {
            end = match end {
                Some(End::Quotes(quotes)) if line.contains(quotes) => None,
                Some(End::Quotes(quotes)) => Some(End::Quotes(quotes)),
                Some(End::Brackets(depth)) if Kind::of(line) != Kind::Header => match open_brackets(line, depth) {
                    0 => None,
                    depth => Some(End::Brackets(depth)),
                },
                _ => owner.pass(line, end),
            };
        }
        owner.is_open = end.is_some();
        owner.is_loose = end == Some(End::NextEntry);
        owner
    }

    /// Takes in a line that is in no value. Returns the end of the value that begins on it, if it goes on.
    fn pass(&mut self, line: &str, end: Option<End>) -> Option<End> {
        match Kind::of(line) {
            Kind::Blank => end,
            Kind::Stray => None,
            Kind::Header => {
                let mut path = header(line.trim()).unwrap_or_default().split('.');
                self.is_secret_section = path.any(|step| step == "settings") && path.any(is_secret_name);
                None
            }
            Kind::Entry => {
                let at = line.find('=').or_else(|| line.find(": ")).unwrap_or(line.len());
                let (key, value) = (key_before(line, at), line.get(at + 1..).unwrap_or_default().trim());
                self.is_secret = self.is_secret_section || key.split('.').any(is_secret_name);
                end_of(value)
            }
        }
    }
}

/// What ends a value, if it does not end on its first line.
fn end_of(value: &str) -> Option<End> {
    for quotes in ["\"\"\"", "'''"] {
        if let Some(rest) = value.strip_prefix(quotes) {
            return (!rest.contains(quotes)).then_some(End::Quotes(quotes));
        }
    }
    let depth = open_brackets(value, 0);
    if depth > 0 {
        return Some(End::Brackets(depth));
    }
    let quote = value.chars().next().filter(|letter| matches!(letter, '"' | '\''));
    let is_whole = quote.map_or(!value.is_empty(), |quote| super::closing(value, quote).is_some());
    (!is_whole).then_some(End::NextEntry)
}

/// Brackets that are open after a line, `depth` of them before it; those in texts are none.
fn open_brackets(line: &str, mut depth: usize) -> usize {
    let mut at = 0;
    while let Some(letter) = line.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = line.get(at..).unwrap_or_default();
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            '#' => return depth,
            '"' | '\'' => at += super::closing(rest, letter).unwrap_or(1) - 1,
            _ => {}
        }
        at += letter.len_utf8();
    }
    depth
}

/// The name between the brackets of a section's line.
fn header(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let inner = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(inner).trim();
    (!inner.is_empty() && inner.chars().all(is_key)).then_some(inner)
}

/// The key that ends before `at`, without quotes.
pub(super) fn key_before(line: &str, at: usize) -> &str {
    let left = line.get(..at).unwrap_or_default().trim_end();
    for quote in ['"', '\''] {
        if let Some(inner) = left.strip_suffix(quote) {
            return inner.rfind(quote).and_then(|begin| inner.get(begin + 1..)).unwrap_or(inner);
        }
    }
    let length: usize = left.chars().rev().take_while(|letter| is_key(*letter)).map(char::len_utf8).sum();
    left.get(left.len() - length..).unwrap_or_default()
}

fn unquoted(key: &str) -> &str {
    key.trim().trim_matches(['"', '\''])
}

fn is_key(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}
