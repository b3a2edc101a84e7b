//! "Did you mean": finds the known word that is nearest to an unknown one.

use klines_domain::interval::Interval;

/// Common interval lengths, which are suggested instead of an unsupported one.
const COMMON: [&str; 16] =
    ["100ms", "500ms", "1s", "5s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "12h"];

/// Returns the candidate of which `word` is most likely a misspelling, if any is near enough.
///
/// A candidate is near if at most a third of the letters differ (one letter in short words), or if one of the two words
/// begins with the other.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_ascii_lowercase();
    let limit = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(word: &str, candidate: &str) -> usize {
    let begins = candidate.starts_with(word) || word.starts_with(candidate);
    if begins && word.len().min(candidate.len()) >= 3 { 1 } else { strsim::damerau_levenshtein(word, candidate) }
}

/// Returns the interval that was most likely intended: the same length with the unit in its proper spelling, else the
/// nearest common length.
#[must_use]
pub fn nearest_interval(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits)?;
    let count: i64 = if count.is_empty() { 1 } else { count.parse().ok()? };
    let (unit, millis) = match unit.trim().to_ascii_lowercase().as_str() {
        "ms" | "milli" | "millis" => ("ms", 1),
        "s" | "sec" | "secs" | "second" | "seconds" => ("s", 1_000),
        "" | "m" | "min" | "mins" | "minute" | "minutes" => ("m", 60_000),
        "h" | "hr" | "hour" | "hours" => ("h", 3_600_000),
        "d" | "day" | "days" => ("D", 86_400_000),
        "w" | "week" | "weeks" => return Some("1W".to_owned()),
        "mo" | "mon" | "month" | "months" => return Some("1M".to_owned()),
        _ => return None,
    };
    if let Ok(interval) = format!("{count}{unit}").parse::<Interval>() {
        return Some(interval.to_string());
    }
    let wanted = count.checked_mul(millis)?;
    let common = COMMON.iter().chain(&["1D", "1W", "1M"]).filter_map(|known| known.parse::<Interval>().ok());
    common.min_by_key(|known| known.nominal_millis().abs_diff(wanted)).map(|known| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_find_the_known_word_and_unknown_words_do_not() {
        let known = ["intervals", "update_interval", "grace", "lateness", "BYBIT_SYMBOLS", "console"];
        for (word, found) in [
            ("interval", Some("intervals")),
            ("graec", Some("grace")),
            ("BYBIT_SYMBOL", Some("BYBIT_SYMBOLS")),
            ("Console", Some("console")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), found, "{word}");
        }
    }

    #[test]
    fn misspelt_intervals_find_their_unit_or_the_nearest_length() {
        for (word, found) in [
            ("1d", Some("1D")),
            ("1H", Some("1h")),
            ("5min", Some("5m")),
            ("7m", Some("5m")),
            ("2W", Some("1W")),
            ("10ms", Some("100ms")),
            ("45", Some("45m")),
            ("soon", None),
        ] {
            assert_eq!(nearest_interval(word).as_deref(), found, "{word}");
        }
    }
}
