//! Detects keys that can be guessed. The caller decides what follows.

use std::fmt;

/// The minimum number of characters that a key should have.
pub const MIN_KEY_LENGTH: usize = 16;

/// Lower-case words that occur in the keys of examples, templates and tutorials.
const SAMPLE_WORDS: [&str; 48] = [
    "access",
    "admin",
    "api",
    "auth",
    "authentication",
    "bybit",
    "change",
    "client",
    "default",
    "demo",
    "dummy",
    "enter",
    "example",
    "foo",
    "bar",
    "generated",
    "here",
    "insert",
    "it",
    "key",
    "klines",
    "long",
    "me",
    "my",
    "password",
    "passphrase",
    "placeholder",
    "please",
    "random",
    "replace",
    "sample",
    "secret",
    "secure",
    "server",
    "some",
    "streamer",
    "strong",
    "super",
    "test",
    "the",
    "this",
    "token",
    "user",
    "very",
    "websocket",
    "with",
    "wss",
    "your",
];

/// Why a key can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// The key has too few characters.
    Short,
    /// The key is copied from an example, or consists of words that occur in examples.
    Sample,
}

impl Weakness {
    /// Returns the weakness of a key; `None` if it has none. A short sample is a sample.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        if is_sample(key) {
            Some(Self::Sample)
        } else if key.chars().count() < MIN_KEY_LENGTH {
            Some(Self::Short)
        } else {
            None
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(out, "it has fewer than {MIN_KEY_LENGTH} characters"),
            Self::Sample => out.write_str("it is a sample value that everybody knows"),
        }
    }
}

/// Returns whether a key consists only of sample words, with or without separators and final digits, or of one repeated
/// character or a row of digits.
fn is_sample(key: &str) -> bool {
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let words = letters.trim_end_matches(|c: char| c.is_ascii_digit());
    let rising = "1234567890".repeat(letters.len() / 10 + 1);
    let is_row = !letters.is_empty() && (rising.starts_with(&letters) || format!("0{rising}").starts_with(&letters));
    let is_one = letters.len() > 1 && letters.chars().all(|c| letters.starts_with(c));
    is_row || is_one || (!words.is_empty() && is_made_of_samples(words))
}

/// Returns whether a text is a sequence of sample words.
fn is_made_of_samples(text: &str) -> bool {
    // Each reachable end is processed once, so that the time grows with the length even if words overlap.
    let mut reached = vec![false; text.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for start in 0..text.len() {
        if reached.get(start) != Some(&true) {
            continue;
        }
        let rest = text.get(start..).unwrap_or_default();
        for word in SAMPLE_WORDS.iter().filter(|word| rest.starts_with(**word)) {
            if let Some(end) = reached.get_mut(start + word.len()) {
                *end = true;
            }
        }
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_detected_in_any_spelling() {
        for key in [
            "your_secret_key",
            "your-websocket-secret-key-here",
            "YOUR_SECRET_KEY_HERE",
            "changeme",
            "Change-Me-Please",
            "secret",
            "Password",
            "password123",
            "my-super-secret-token-123456",
            "1234567890123456",
            "0123456789012345678",
            "aaaaaaaaaaaaaaaaaaaa",
            "xxxxxxxx-xxxx-xxxx",
        ] {
            assert_eq!(Weakness::of(key), Some(Weakness::Sample), "{key}");
        }
    }

    #[test]
    fn short_keys_are_weak_and_random_ones_are_not() {
        assert_eq!(Weakness::of("kd83jfKs02mxQpz"), Some(Weakness::Short));
        assert_eq!(Weakness::of(""), Some(Weakness::Short));
        for key in ["kd83jfKs02mxQpzy", "3YyXq0Jw8oM3m9tq3h1u9r2b6v5c7x1z4a8s0d2f6g4", "correct horse battery staple"] {
            assert_eq!(Weakness::of(key), None, "{key}");
        }
    }
}
