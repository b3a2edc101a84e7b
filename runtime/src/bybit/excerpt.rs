//! Text from outside, cut and made harmless for logs, errors and terminals. Everything of Bybit's that is shown to the
//! operator passes here.

/// Most characters of it that are shown.
pub const LONGEST: usize = 120;

/// Returns the first [`LONGEST`] characters; those that steer a terminal or hide others are replaced.
#[must_use]
pub fn excerpt(text: &str) -> String {
    text.chars().take(LONGEST).map(|shown| if is_harmless(shown) { shown } else { '\u{fffd}' }).collect()
}

/// Whether a character shows itself: no control, zero-width, line-separating or direction-changing one.
const fn is_harmless(shown: char) -> bool {
    !matches!(
        shown,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_a_terminal_that_could_steer_it() {
        assert_eq!(excerpt("a\u{1b}[2J\r\n\u{9b}b\u{202e}c"), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}b\u{fffd}c");
        assert_eq!(excerpt("straße €"), "straße €");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(excerpt(&"é".repeat(500)), "é".repeat(LONGEST));
    }
}
