//! The values that the call in progress publishes: checks and bounds them, and publishes them once the call has
//! succeeded.

use std::sync::Arc;

use klines_delivery::emit::{Emitter, Point, Value};
use klines_domain::count::counted;
use klines_domain::kline::Kline;
use klines_domain::sanitize::is_unsafe;

/// Maximum length of the text of one value, in bytes.
const LONGEST_TEXT: usize = 4 << 10;
/// Bytes that a value counts for in addition to its text.
const VALUE_COSTS: usize = 64;

/// A value as the guest passes it, not checked yet.
pub(super) enum Given {
    Number(f64),
    Json(String),
}

/// The values that one instance publishes.
#[derive(Debug)]
pub(super) struct Emission {
    /// `None` in `validate`, which publishes no values.
    emitter: Option<Arc<Emitter>>,
    /// Maximum number of bytes that one call may publish.
    most: usize,
    draft: Vec<Point>,
    bytes: usize,
}

impl Emission {
    pub(super) const fn new(emitter: Option<Arc<Emitter>>, most: usize) -> Self {
        Self { emitter, most, draft: Vec::new(), bytes: 0 }
    }

    /// Adds a value for `kline`, a kline of the current batch; `None` if the batch has no such row, which is an error.
    /// The error message is for the guest.
    pub(super) fn add(&mut self, kline: Option<&Kline>, name: &str, given: Given) -> Result<(), String> {
        let Some(emitter) = self.emitter.clone() else {
            return Err("`validate` cannot publish values".to_owned());
        };
        let added = self.check(&emitter, kline, name, given);
        if added.is_err() {
            emitter.refuse();
        }
        added
    }

    fn check(&mut self, emitter: &Emitter, kline: Option<&Kline>, name: &str, given: Given) -> Result<(), String> {
        let kline = kline.ok_or("the current batch has no such row")?;
        let bytes = VALUE_COSTS + if let Given::Json(text) = &given { text.len() } else { 0 };
        // Checked before a text is parsed, so that a guest that continues after a refusal costs little.
        if self.bytes + bytes > self.most {
            let most = counted(self.most, "byte");
            return Err(format!("a call may publish {most}, a value counting as 64 and its text (limits.emit)"));
        }
        let value = match given {
            Given::Number(number) if number.is_finite() => Value::Number(number),
            Given::Number(number) => return Err(format!("{number} is not a number that can be published")),
            Given::Json(text) => Value::Json(json(&text)?),
        };
        let series = emitter.series(name)?;
        self.bytes += bytes;
        self.draft.push(emitter.point(series, kline, value));
        Ok(())
    }

    /// Discards the values of the call in progress.
    pub(super) fn discard(&mut self) {
        self.draft.clear();
        self.bytes = 0;
    }

    /// Publishes the values of the call.
    pub(super) fn commit(&mut self) {
        self.bytes = 0;
        let points = std::mem::take(&mut self.draft);
        if let Some(emitter) = self.emitter.as_ref().filter(|_| !points.is_empty()) {
            emitter.publish(points);
        }
    }
}

fn escaped(unit: &u16) -> String {
    format!("\\u{unit:04x}")
}

/// Returns the JSON text on one line, with unsafe characters escaped, or an error if it is not JSON.
fn json(text: &str) -> Result<Arc<str>, String> {
    if text.len() > LONGEST_TEXT {
        return Err(format!("a text has at most {LONGEST_TEXT} bytes, this one {}", text.len()));
    }
    // Parsing into a value also refuses what many clients cannot read: hundreds of nested brackets, numbers out of
    // range.
    let _: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("the text is not JSON: {error}"))?;
    let mut kept = String::with_capacity(text.len());
    for found in text.trim().chars() {
        match found {
            // In JSON, raw line breaks and tabs occur only between values, as whitespace; strings contain them escaped.
            '\n' | '\r' | '\t' => kept.push(' '),
            // Terminal control characters occur only inside strings, where JSON allows escapes.
            _ if is_unsafe(found) => kept.extend(found.encode_utf16(&mut [0; 2]).iter().map(escaped)),
            _ => kept.push(found),
        }
    }
    Ok(kept.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use klines_delivery::emit::Outlet;
    use klines_delivery::fixture::kline;

    use super::*;

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Point>>);

    impl Outlet for Kept {
        fn publish(&self, points: Vec<Point>) -> usize {
            self.0.lock().unwrap().extend(points);
            0
        }
    }

    fn emission(most: usize) -> (Emission, Arc<Kept>) {
        let kept = Arc::new(Kept::default());
        (Emission::new(Some(Arc::new(Emitter::new("mine", 32, Some(kept.clone())))), most), kept)
    }

    fn texts(kept: &Kept) -> Vec<String> {
        kept.0.lock().unwrap().iter().map(|point| format!("{} {}", point.name, point.value)).collect()
    }

    #[test]
    fn values_are_published_when_the_call_has_succeeded() {
        let (mut emission, kept) = emission(1 << 10);
        let kline = kline("BTCUSDT", "1m", 3, true);
        emission.add(Some(&kline), "lost", Given::Number(1.0)).unwrap();
        emission.discard();
        emission.add(Some(&kline), "rsi", Given::Number(70.5)).unwrap();
        emission.add(Some(&kline), "signal", Given::Json("{\"side\":\n\"buy\"}".to_owned())).unwrap();
        assert!(texts(&kept).is_empty());
        emission.commit();
        assert_eq!(texts(&kept), ["rsi 70.5", "signal {\"side\": \"buy\"}"]);
    }

    #[test]
    fn terminal_control_characters_are_escaped() {
        assert_eq!(&*json("{\"a\":\t\"\u{9b}31m\u{202e}\u{7f}é\"}").unwrap(), "{\"a\": \"\\u009b31m\\u202e\\u007fé\"}");
    }

    #[test]
    fn invalid_values_are_refused_with_the_reason() {
        let (mut emission, kept) = emission(1 << 20);
        let kline = kline("BTCUSDT", "1m", 3, true);
        let text = |text: &str| Given::Json(text.to_owned());
        for (row, name, given, reason) in [
            (None, "a", Given::Number(1.0), "no such row"),
            (Some(&kline), "A", Given::Number(1.0), "the name of a series"),
            (Some(&kline), "a", Given::Number(f64::NAN), "NaN is not"),
            (Some(&kline), "a", Given::Number(f64::INFINITY), "inf is not"),
            (Some(&kline), "a", text("{"), "not JSON"),
            (Some(&kline), "a", text("1 2"), "not JSON"),
            (Some(&kline), "a", text(&"[".repeat(2_000)), "recursion limit"),
            (Some(&kline), "a", text("1e999"), "out of range"),
            (Some(&kline), "a", text(&"1".repeat(4_097)), "at most 4096 bytes"),
        ] {
            let refused = emission.add(row, name, given).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        emission.commit();
        assert!(texts(&kept).is_empty());
    }

    #[test]
    fn a_call_publishes_up_to_its_limit() {
        let (mut emission, kept) = emission(128);
        let kline = kline("BTCUSDT", "1m", 3, true);
        for call in 0..2 {
            emission.add(Some(&kline), "a", Given::Number(1.0)).unwrap();
            emission.add(Some(&kline), "a", Given::Number(2.0)).unwrap();
            assert!(emission.add(Some(&kline), "a", Given::Number(3.0)).unwrap_err().contains("limits.emit"));
            emission.commit();
            assert_eq!(texts(&kept).len(), 2 * (call + 1), "the limit is for each call");
        }
    }
}
