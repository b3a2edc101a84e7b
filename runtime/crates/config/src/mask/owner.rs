//! Finds the key that a line of a TOML file belongs to: one on the line itself, or one above whose value continues.
//!
//! Classifies each line by its form alone, without a parser, so that this works in a file with syntax errors too.

use klines_domain::secret::is_secret_name;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An empty line or a comment.
    Blank,
    /// `[section]`
    Header,
    /// `key = …`, or `key: …` as in other languages.
    Entry,
    /// Any other line: perhaps a part of a value.
    Stray,
}

/// The key and the section that a line belongs to, as far as the lines above show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    /// Whether the value of a key above continues.
    pub(super) is_open: bool,
    /// Whether it continues only if the line looks like a part of a value, because the value above is incomplete.
    pub(super) is_loose: bool,
    /// Whether that key names a secret.
    pub(super) is_secret: bool,
    /// Whether the section is a part of a consumer's settings whose name names a secret.
    pub(super) is_secret_section: bool,
}

/// What ends a value that continues on the next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Three quotes of this kind.
    Quotes(&'static str),
    /// This number of closing brackets.
    Brackets(usize),
    /// The next line that is not [`Kind::Stray`].
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
            // The key must be the only text before the sign.
            Some((key, at)) if !key.is_empty() && line.get(..at).is_some_and(|left| unquoted(left) == key) => {
                Self::Entry
            }
            _ => Self::Stray,
        }
    }
}

impl Owner {
    /// Returns the owner of the line that follows the text `above`.
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
                _ => owner.update(line, end),
            };
        }
        owner.is_open = end.is_some();
        owner.is_loose = end == Some(End::NextEntry);
        owner
    }

    /// Updates the owner with a line that is not part of a multi-line value. Returns the end of the value that begins
    /// on the line, if it continues.
    fn update(&mut self, line: &str, end: Option<End>) -> Option<End> {
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

/// Returns what ends a value, or `None` if it ends on its first line.
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

/// Returns the number of open brackets after a line; `depth` are open before it. Brackets inside quotes do not count.
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

/// Returns the name between the brackets of a section line.
fn header(line: &str) -> Option<&str> {
    let line = line.split('#').next().unwrap_or_default().trim_end();
    let inner = line.strip_prefix('[')?.strip_suffix(']')?;
    let inner = inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(inner).trim();
    (!inner.is_empty() && inner.chars().all(is_key)).then_some(inner)
}

/// Returns the key that ends before `at`, without quotes.
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
