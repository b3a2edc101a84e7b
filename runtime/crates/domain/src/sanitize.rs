//! Makes text from outside (guests, their files, the exchange, servers) harmless for logs, terminals and people: the one
//! place that decides which characters are dropped.
//!
//! Does not translate look-alikes: letters that are seen stay.

/// Bytes of a text of the exchange or a server that are shown.
pub const EXCERPT: usize = 120;

/// Characters besides controls that are dropped, by ranges: Unicode's `Default_Ignorable_Code_Point`, the separators of
/// lines and paragraphs, and those of the category `Cf` that are not seen.
const INVISIBLE: [(char, char); 23] = [
    // Soft hyphen; combining grapheme joiner; Arabic letter mark.
    ('\u{00AD}', '\u{00AD}'),
    ('\u{034F}', '\u{034F}'),
    ('\u{061C}', '\u{061C}'),
    // Fillers of Hangul, inherent vowels of Khmer, selectors of Mongolian.
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180F}'),
    // Zero-width characters and marks of direction.
    ('\u{200B}', '\u{200F}'),
    // Separators of lines and paragraphs; embeddings and overrides of direction.
    ('\u{2028}', '\u{202E}'),
    // Word joiner, invisible operators, isolates of direction.
    ('\u{2060}', '\u{206F}'),
    ('\u{3164}', '\u{3164}'),
    // Variation selectors; byte order mark; half-width filler; interlinear annotations.
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FEFF}', '\u{FEFF}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{FFF0}', '\u{FFFB}'),
    // Joiners of Egyptian hieroglyphs, controls of shorthand and of music.
    ('\u{13430}', '\u{1343F}'),
    ('\u{1BCA0}', '\u{1BCA3}'),
    ('\u{1D173}', '\u{1D17A}'),
    // Tags and the selectors behind them, which can carry a text of their own.
    ('\u{E0000}', '\u{E0FFF}'),
    // No characters: the ends of planes that programs use for themselves.
    ('\u{FDD0}', '\u{FDEF}'),
    ('\u{FFFE}', '\u{FFFF}'),
    ('\u{1FFFE}', '\u{1FFFF}'),
    // Private use: what is seen depends on the font.
    ('\u{F0000}', '\u{FFFFF}'),
    ('\u{100000}', '\u{10FFFF}'),
];

/// Whether a character drives a terminal, breaks a line, turns the direction of reading, or is not seen.
#[must_use]
pub fn is_unsafe(found: char) -> bool {
    found.is_control() || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&found))
}

/// Returns the text without unsafe characters, cut to at most `most` bytes between two characters. Line feeds and tabs
/// become spaces, so that words stay apart and a line stays one line.
#[must_use]
pub fn sanitize(text: &str, most: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(most));
    for found in text.chars() {
        let found = match found {
            '\n' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            // The common case first.
            ' '..='~' => found,
            _ if is_unsafe(found) => continue,
            _ => found,
        };
        if kept.len() + found.len_utf8() > most {
            break;
        }
        kept.push(found);
    }
    kept
}

/// Returns the text in double quotes, which it cannot leave: quotes and backslashes inside are escaped.
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
    fn nothing_that_drives_a_terminal_is_left() {
        assert_eq!(sanitize("\u{1b}]0;owned\u{7}ok\u{9b}31m\r", 100), "]0;ownedok31m");
        assert_eq!(sanitize("one\n2026-01-01 ERROR two\tthree\0", 100), "one 2026-01-01 ERROR two three");
        assert_eq!(sanitize("safe\u{202e}txt.exe\u{2066}\u{2029}!", 100), "safetxt.exe !");
    }

    #[test]
    fn nothing_that_is_not_seen_is_left() {
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
        for (most, expected) in [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (6, "aé€"), (100, "aé€")] {
            assert_eq!(sanitize("aé€", most), expected);
        }
        assert_eq!(sanitize("\n\n", 1), " ");
    }

    #[test]
    fn a_quoted_text_cannot_leave_its_quotes() {
        assert_eq!(quoted(r#"a" level="INFO\"#), r#""a\" level=\"INFO\\""#);
        assert_eq!(quoted("\u{1b}[2J\u{202e}x"), r#""[2Jx""#);
    }
}
