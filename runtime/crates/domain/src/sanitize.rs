//! Sanitizes text from outside (guests, their files, the exchange, servers) for logs, terminals and people. The only
//! place that decides which characters are dropped.
//!
//! Does not replace look-alikes: visible letters are kept.

/// The maximum length, in bytes, at which text from the exchange or a server is shown.
pub const MAX_SHOWN_BYTES: usize = 120;

/// Characters other than control characters that are dropped, as ranges: Unicode's `Default_Ignorable_Code_Point`, line
/// and paragraph separators, and the invisible characters of category `Cf`.
const INVISIBLE: [(char, char); 23] = [
    // Soft hyphen; combining grapheme joiner; Arabic letter mark.
    ('\u{00AD}', '\u{00AD}'),
    ('\u{034F}', '\u{034F}'),
    ('\u{061C}', '\u{061C}'),
    // Hangul fillers, Khmer inherent vowels, Mongolian selectors.
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    // Zero-width characters and direction marks.
    ('\u{200B}', '\u{200F}'),
    // Line and paragraph separators; direction embeddings and overrides.
    ('\u{2028}', '\u{202E}'),
    // Word joiner, invisible operators, direction isolates.
    ('\u{2060}', '\u{206F}'),
    ('\u{3164}', '\u{3164}'),
    // Variation selectors; byte order mark; half-width filler; interlinear annotations.
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFFB}'),
    // Egyptian hieroglyph joiners, shorthand and music controls.
    ('\u{13430}', '\u{1343F}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    // Tags and variation selectors, which can carry a hidden text.
    ('\u{E0000}', '\u{E0FFF}'),
    // Noncharacters, which programs use internally.
    ('\u{FDD0}', '\u{FDEF}'),
    ('\u{FFFE}', '\u{FFFF}'),
    ('\u{1FFFE}', '\u{1FFFF}'),
    // Private use: the visible result depends on the font.
    ('\u{F0000}', '\u{FFFFF}'),
    ('\u{100000}', '\u{10FFFF}'),
];

/// Returns whether a character controls a terminal, breaks a line, changes the reading direction, or is invisible.
#[must_use]
pub fn is_unsafe(found: char) -> bool {
    found.is_control() || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&found))
}

/// Returns the text without unsafe characters, cut to at most `max_bytes` bytes at a character boundary. Line feeds and
/// tabs become spaces, so that words stay separate and the result is one line.
#[must_use]
pub fn sanitize(text: &str, max_bytes: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max_bytes));
    for found in text.chars() {
        let found = match found {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            // The most common case comes first.
            ' '..='~' => found,
            _ if is_unsafe(found) => continue,
            _ => found,
        };
        if kept.len() + found.len_utf8() > max_bytes {
            break;
        }
        kept.push(found);
    }
    kept
}

/// Returns the text in double quotes. Quotes and backslashes inside are escaped, so that the text cannot end the
/// quotes.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for found in text.chars().filter(|found| !is_unsafe(*found)) {
        if matches!(found, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(found);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_controls_are_removed() {
        assert_eq!(sanitize("\u{1b}]0;owned\u{7}ok\u{9b}31m\r", 100), "]0;ownedok31m");
        assert_eq!(sanitize("one\n2026-01-01 ERROR two\tthree\0", 100), "one 2026-01-01 ERROR two three");
        assert_eq!(sanitize("safe\u{202e}txt.exe\u{2066}\u{2029}!", 100), "safetxt.exe !");
    }

    #[test]
    fn invisible_characters_are_removed() {
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{202d}',
            '\u{2060}',
            '\u{2064}',
            '\u{2069}',
            '\u{206a}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{1bca0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
            '\u{10fffd}',
        ] {
            assert_eq!(sanitize(&format!("a{hidden}b"), 100), "ab", "{:04x}", u32::from(hidden));
        }
        let seen = "straße € 価格 قیمة ₿ 📈 e\u{301}";
        assert_eq!(sanitize(seen, 100), seen);
    }

    #[test]
    fn the_cut_is_between_characters() {
        for (max_bytes, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (6, "aé€"), (100, "aé€")] {
            assert_eq!(sanitize("aé€", max_bytes), expected);
        }
        assert_eq!(sanitize("\n\n", 1), " ");
    }

    #[test]
    fn a_quoted_text_cannot_leave_its_quotes() {
        assert_eq!(quoted(r#"a" level="INFO\"#), r#""a\" level=\"INFO\\""#);
        assert_eq!(quoted("\u{1b}[2J\u{202e}x"), r#""[2Jx""#);
    }
}
