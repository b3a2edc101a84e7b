//! Bybit's frames, one per line, in order of arrival.

use klines_domain::symbol::Category;
use klines_domain::time::Millis;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::SourceError;
use super::input::Lines;
use super::record::{Body, Record};

/// The frames of one file.
pub(super) struct Frames {
    lines: Lines,
    /// Lines that were read to detect the category.
    ahead: std::vec::IntoIter<String>,
    category: Category,
    time: Millis,
    /// The last timestamp, if it is too far from those before.
    unconfirmed: Option<Millis>,
}

/// Maximum bytes of the lines that are read to detect the category.
const LOOK_AHEAD: usize = 8 << 20;
/// How far a timestamp may be from the greatest one so far without a second one to confirm it.
const MAX_STEP: Millis = 24 * 3_600_000;

impl Frames {
    /// Creates the reader; `first` is the line that was already read.
    pub(super) fn new(first: &[u8], mut lines: Lines, category: Option<Category>) -> Result<Self, SourceError> {
        let mut ahead = vec![text(first)];
        let mut bytes = first.len();
        let mut found = category.or_else(|| category_of(ahead.first().map_or("", String::as_str)));
        while found.is_none() {
            let Some(line) = lines.next()? else { break };
            if bytes >= LOOK_AHEAD {
                return Err(SourceError::NoCategory { path: lines.path().to_owned(), bytes: LOOK_AHEAD });
            }
            let line = text(line);
            found = category_of(&line);
            bytes += line.len();
            ahead.push(line);
        }
        let category = found.unwrap_or_default();
        Ok(Self { lines, ahead: ahead.into_iter(), category, time: 0, unconfirmed: None })
    }

    pub(super) const fn category(&self) -> Category {
        self.category
    }

    /// Returns the next frame and the time that orders it among other files: the greatest timestamp so far; 0 before the
    /// first one.
    pub(super) fn next(&mut self) -> Result<Option<(Millis, Record)>, SourceError> {
        let frame = match self.ahead.next() {
            Some(line) => line,
            None => match self.lines.next()? {
                Some(line) => text(line),
                None => return Ok(None),
            },
        };
        self.observe(stamp(&frame));
        Ok(Some((
            self.time,
            Record { received: None, category: self.category, connection: None, body: Body::Frame(frame) },
        )))
    }

    /// Takes over the time of a frame. A damaged one can be years off, and the file would be read before or after all
    /// others, so a long step needs a second frame of about that time.
    fn observe(&mut self, stamp: Millis) {
        let is_near = |time: Millis| stamp.abs_diff(time) <= MAX_STEP.unsigned_abs();
        if stamp == 0 {
            return;
        }
        if self.time == 0 || is_near(self.time) {
            (self.time, self.unconfirmed) = (self.time.max(stamp), None);
        } else if self.unconfirmed.is_some_and(is_near) {
            (self.time, self.unconfirmed) = (stamp, None);
        } else {
            self.unconfirmed = Some(stamp);
        }
    }
}

/// Returns a line as text. One that is not UTF-8 is no valid frame; the reader of frames counts it.
fn text(line: &[u8]) -> String {
    std::str::from_utf8(line).map_or_else(|_| String::from_utf8_lossy(line).into_owned(), str::to_owned)
}

#[derive(Deserialize)]
struct WireTopic<'a> {
    topic: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct WireRow<'a> {
    #[serde(rename = "L")]
    tick: Option<serde::de::IgnoredAny>,
    #[serde(rename = "i")]
    id: &'a str,
    #[serde(rename = "s")]
    symbol: &'a str,
}

/// Detects the category from a trade frame: spot rows have no tick direction and numeric ids; inverse contracts are
/// quoted in USD.
fn category_of(line: &str) -> Option<Category> {
    let frame: WireTopic<'_> = serde_json::from_str(line).ok()?;
    if !frame.topic.starts_with("publicTrade.") {
        return None;
    }
    let rows: Vec<WireRow<'_>> = serde_json::from_str(frame.data.get()).ok()?;
    let row = rows.first()?;
    let numbered = row.id.bytes().all(|byte| byte.is_ascii_digit());
    Some(match (row.tick.is_none() && numbered, is_inverse(row.symbol)) {
        (true, _) => Category::Spot,
        (false, true) => Category::Inverse,
        (false, false) => Category::Linear,
    })
}

/// Returns whether a derivative's name is that of an inverse contract: `BTCUSD`, `BTCUSDZ26`.
pub(super) fn is_inverse(symbol: &str) -> bool {
    let Some((base, rest)) = symbol.split_once("USD") else { return false };
    let dated = rest.len() == 3 && rest.starts_with(|letter: char| letter.is_ascii_uppercase());
    !base.is_empty() && (rest.is_empty() || (dated && rest.bytes().skip(1).all(|byte| byte.is_ascii_digit())))
}

/// Returns a frame's `ts` without parsing the rest; 0 if there is none.
fn stamp(frame: &str) -> Millis {
    const KEY: &str = "\"ts\":";
    let at = memchr::memmem::find(frame.as_bytes(), KEY.as_bytes());
    let Some(rest) = at.and_then(|at| frame.get(at + KEY.len()..)) else { return 0 };
    let digits = rest.trim_start().bytes().take_while(u8::is_ascii_digit);
    digits.take(15).fold(0, |value, digit| value * 10 + Millis::from(digit - b'0'))
}
