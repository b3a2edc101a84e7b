//! What is left of a stranger's text before it reaches a log, a terminal or an operator.

/// Returns the text without control, escape and text-direction characters, cut to at most `most` bytes on a
/// character's boundary. Line feeds and tabs become spaces, so that words stay apart and a line stays one line.
pub(super) fn clean(text: &str, most: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(most));
    for found in text.chars() {
        let found = match found {
            '\n' | '\t' => ' ',
            _ if is_dangerous(found) => continue,
            _ => found,
        };
        if kept.len() + found.len_utf8() > most {
            break;
        }
        kept.push(found);
    }
    kept
}

/// Characters that move a cursor, start an escape sequence, break a line or turn the direction of what follows.
pub(super) fn is_dangerous(found: char) -> bool {
    found.is_control()
        || matches!(
            found,
            '\u{061C}'
                | '\u{200E}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2066}'..='\u{2069}'
                | '\u{FEFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_drives_a_terminal_is_left() {
        assert_eq!(clean("\u{1b}]0;owned\u{7}ok\u{9b}31m\r", 100), "]0;ownedok31m");
        assert_eq!(clean("one\n2026-01-01 ERROR two\tthree\0", 100), "one 2026-01-01 ERROR two three");
        assert_eq!(clean("safe\u{202e}txt.exe\u{2066}\u{2029}", 100), "safetxt.exe");
    }

    #[test]
    fn the_cut_is_between_characters() {
        assert_eq!(clean("aé€", 1), "a");
        assert_eq!(clean("aé€", 2), "a");
        assert_eq!(clean("aé€", 3), "aé");
        assert_eq!(clean("aé€", 6), "aé€");
        assert_eq!(clean("\n\n", 1), " ");
    }
}
