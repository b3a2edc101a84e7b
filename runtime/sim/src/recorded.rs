//! Replays a recording: forwards its frames unchanged, with their original spacing, optionally shifted to the present.
//! `recorded::file` reads the files. Reads no clock.

mod file;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use crate::{
    amount::Amount,
    category::{Category, PerCategory},
    instrument::{Activity, Instrument},
    interval::Interval,
    market::MarketEvent,
    topics::symbol_of,
    trade::Fill,
};

pub use file::RecordingError;

/// Keys whose values are times in ms that are shifted with the recording.
const TIME_KEYS: [&str; 6] = [r#""ts":"#, r#""T":"#, r#""start":"#, r#""end":"#, r#""timestamp":"#, r#""cts":"#];

/// How the times of a recording are shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// They are not changed; the exchange's clock shows the time of the recording.
    Kept,
    /// They are shifted to the present by a multiple of the longest recorded kline interval, so that windows stay
    /// aligned: of 1 minute if no klines were recorded, of 1 day if the longest is a week or a month. The exchange's
    /// clock is then behind the wall clock by less than that unit.
    Now,
    /// They are shifted by this number of ms. Multiples of 60,000 keep minutes aligned.
    Shifted(i64),
}

/// Recorded frames, held in memory.
#[derive(Clone, Debug)]
pub struct Recording {
    pub(crate) frames: Vec<Frame>,
    pub(crate) times: Times,
    pub(crate) skipped: usize,
}

/// One recorded data frame. `at` is its receive time, or its `ts` where no receive time was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub at: i64,
    pub category: Category,
    pub topic: String,
    pub text: String,
    pub fills: Vec<(String, Fill)>,
}

impl Recording {
    /// Reads recorded frames from a plain or gzip file. A line is either one frame, which then belongs to `category`,
    /// or a recorder's record `{"t":"recv","conn":…,"ts":…,"data":"<frame>"}`, whose category is in the address of its
    /// connection. Acks and lines that are not a frame are skipped.
    ///
    /// # Errors
    /// If the file cannot be read, is larger than 1 GiB unpacked, or holds no data frame.
    pub fn read(path: impl Into<PathBuf>, category: Category) -> Result<Self, RecordingError> {
        file::read(&path.into(), category)
    }

    /// Returns the recording with its times shifted in this way.
    #[must_use]
    pub fn with_times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Returns the number of data frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Returns whether there is no frame; never true for a recording that was read from a file.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns the number of lines that were neither a data frame nor a recorder's note.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    fn first_at(&self) -> i64 {
        self.frames.first().map_or(0, |frame| frame.at)
    }

    fn shift(&self, wall_ms: i64) -> i64 {
        match self.times {
            Times::Kept => 0,
            Times::Shifted(ms) => ms,
            Times::Now => {
                let codes = self.frames.iter().filter_map(|frame| frame.topic.strip_prefix("kline."));
                let grid = codes
                    .filter_map(|rest| Interval::from_code(rest.split('.').next()?))
                    .map(Interval::shortest_ms)
                    .fold(60_000, i64::max)
                    .min(Interval::Day.shortest_ms());
                let difference = wall_ms - self.first_at();
                difference - difference.rem_euclid(grid)
            }
        }
    }
}

/// The replay of a recording.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    recording: Recording,
    instruments: Vec<Instrument>,
    topics: PerCategory<BTreeSet<String>>,
    shift: i64,
    next: usize,
}

impl Recorded {
    pub fn new(recording: Recording) -> Self {
        let mut topics = PerCategory::<BTreeSet<String>>::default();
        for frame in &recording.frames {
            topics.get_mut(frame.category).insert(frame.topic.clone());
        }
        let instruments = instruments(&recording);
        Self { recording, instruments, topics, shift: 0, next: 0 }
    }

    pub fn instruments(&self) -> &[Instrument] {
        &self.instruments
    }

    pub fn has_topic(&self, category: Category, topic: &str) -> bool {
        self.topics.get(category).contains(topic)
    }

    /// Starts the replay at the first frame. Returns its shifted time.
    pub fn begin(&mut self, wall_ms: i64) -> i64 {
        self.shift = self.recording.shift(wall_ms);
        self.next = 0;
        self.recording.first_at() + self.shift
    }

    pub fn postpone(&mut self, ms: i64) {
        self.shift = self.shift.saturating_add(ms);
    }

    pub fn next_events(&mut self, now: i64, out: &mut Vec<MarketEvent>) {
        while let Some(frame) = self.recording.frames.get(self.next) {
            if frame.at + self.shift > now {
                break;
            }
            self.next += 1;
            let shift = self.shift;
            let text = if shift == 0 { frame.text.clone() } else { shift_times(&frame.text, shift) };
            let shifted = |fill: &Fill| Fill { time: fill.time + shift, ..fill.clone() };
            out.push(MarketEvent::Frame {
                category: frame.category,
                topic: frame.topic.clone(),
                text,
                fills: frame.fills.iter().map(|(symbol, fill)| (symbol.clone(), shifted(fill))).collect(),
            });
        }
    }
}

/// Returns one instrument for each recorded symbol. Tick and step are not recorded; they are derived from the largest
/// number of decimals in its trades.
fn instruments(recording: &Recording) -> Vec<Instrument> {
    let mut seen = BTreeMap::<(Category, String), Option<(Amount, u32, u32)>>::new();
    for frame in &recording.frames {
        // A symbol may have klines or an order book but no trade; it is listed as well.
        seen.entry((frame.category, symbol_of(&frame.topic).to_owned())).or_default();
        for (symbol, fill) in &frame.fills {
            let (price, size) = (fill.price, fill.size);
            let digits = seen.entry((frame.category, symbol.clone())).or_default();
            let (_, tick, step) = digits.get_or_insert((price, 0, 0));
            *tick = price.scale().max(*tick);
            *step = size.scale().max(*step);
        }
    }
    let listed = seen.into_iter().map(|((category, symbol), digits)| {
        let (price, tick, step) = digits.unwrap_or((Amount::new(1, 0), 2, 3));
        Instrument {
            category,
            symbol,
            price,
            tick: Amount::new(1, tick),
            step: Amount::new(1, step),
            activity: Activity::Still,
            listed: true,
            listed_at: None,
        }
    });
    listed.collect()
}

/// Returns the frame with every time shifted by `shift` ms. Works on the text, so that the rest stays byte for byte.
fn shift_times(text: &str, shift: i64) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let next = TIME_KEYS.iter().filter_map(|key| rest.find(key).map(|at| at + key.len())).min();
        let Some(end) = next else { break };
        let (before, after) = rest.split_at(end);
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = after.split_at(digits);
        match number.parse::<i64>() {
            Ok(at) => out.push_str(&(at + shift).to_string()),
            Err(_) => out.push_str(number),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
