//! Bybit's frames, one per line, in order of arrival.

use klines_domain::symbol::Category;
use klines_domain::time::{DAY, Millis};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::SourceError;
use super::input::Lines;
use super::record::{Body, Record};

/// The frames of one file.
pub(super) struct Frames {
    lines: Lines,
    /// Lines that were read to look at the start of the file.
    ahead: std::vec::IntoIter<String>,
    /// The category; `None` if no trades show it.
    category: Option<Category>,
    /// The greatest timestamp so far; 0 before the first one.
    time: Millis,
    /// Before the first timestamp, what it is near; then the last one, if it is too far from those before.
    expected: Option<Millis>,
}

/// Maximum bytes of the lines that are read to detect the category.
const LOOK_AHEAD: usize = 1 << 20;
/// How many timestamps at the start of a file show which of them is right.
const FIRST_STAMPS: usize = 5;
/// How far a timestamp may be from the greatest one so far without a second one to confirm it.
const MAX_STEP: Millis = DAY;

impl Frames {
    /// Creates the reader; `first` is the line that was already read. `category` is that of a file that does not show it.
    pub(super) fn new(first: &[u8], mut lines: Lines, category: Option<Category>) -> Result<Self, SourceError> {
        let mut ahead = vec![text(first)];
        let mut bytes = first.len();
        let (mut found, mut stamps) = (None, Vec::new());
        loop {
            let line = ahead.last().map_or("", String::as_str);
            found = found.or_else(|| category_of(line));
            stamps.extend(Some(stamp(line)).filter(|stamp| *stamp > 0));
            if (found.or(category).is_some() && stamps.len() >= FIRST_STAMPS) || bytes >= LOOK_AHEAD {
                break;
            }
            let Some(line) = lines.next()? else { break };
            bytes += line.len();
            ahead.push(text(line));
        }
        if found.or(category).is_none() && bytes >= LOOK_AHEAD {
            return Err(SourceError::NoCategory { path: lines.path().to_owned(), bytes: LOOK_AHEAD });
        }
        stamps.truncate(FIRST_STAMPS);
        let agreeing = |stamp: &Millis| stamps.iter().filter(|other| is_near(**other, *stamp)).count();
        // Of those with the most others near them, the last one, so that two different ones prove the second.
        let expected = stamps.iter().copied().max_by_key(agreeing);
        let category = found.or(category);
        Ok(Self { lines, ahead: ahead.into_iter(), category, time: 0, expected })
    }

    /// Returns the category; `None` if the file has no trades that show it.
    pub(super) const fn category(&self) -> Option<Category> {
        self.category
    }

    /// Sets the category of a file that does not show it.
    pub(super) fn assume(&mut self, category: Category) {
        self.category.get_or_insert(category);
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
        let body = if self.observe(stamp(&frame)) { Body::Frame(frame) } else { Body::Doubtful(frame) };
        let category = self.category.unwrap_or_default();
        Ok(Some((self.time, Record { received: None, category, connection: None, body })))
    }

    /// Takes over the time of a frame. A damaged one can be years off, and the file would be read before or after all
    /// others, so a long step needs a second frame of about that time. Returns whether the time is believed.
    fn observe(&mut self, stamp: Millis) -> bool {
        // A frame without a time says nothing.
        if stamp == 0 {
            return true;
        }
        let known = if self.time == 0 { self.expected } else { Some(self.time) };
        if known.is_none_or(|known| is_near(known, stamp)) {
            (self.time, self.expected) = (self.time.max(stamp), None);
            return true;
        }
        if self.time > 0 && self.expected.is_some_and(|expected| is_near(expected, stamp)) {
            (self.time, self.expected) = (stamp, None);
            return true;
        }
        if self.time > 0 {
            self.expected = Some(stamp);
        }
        false
    }
}

const fn is_near(one: Millis, other: Millis) -> bool {
    one.abs_diff(other) <= MAX_STEP.unsigned_abs()
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
