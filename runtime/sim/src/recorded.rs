//! Replays a recording: frames with their own spacing, forwarded as they are, optionally moved to the present.
//! Reading files is `recorded::file`'s job. Reads no clock.

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

/// Keys whose values are times in ms and move with the recording.
const TIME_KEYS: [&str; 6] = [r#""ts":"#, r#""T":"#, r#""start":"#, r#""end":"#, r#""timestamp":"#, r#""cts":"#];

/// What becomes of a recording's times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// They stay; the exchange's clock shows the time of the recording.
    Kept,
    /// They move by a whole number of the longest recorded kline interval, so that windows stay aligned: of 1 minute
    /// if no klines were recorded, of 1 day if the longest is a week or a month. The exchange's clock then lies behind
    /// the wall clock by less than that.
    Now,
    /// They move by this many ms. Multiples of 60,000 keep minutes aligned.
    Shifted(i64),
}

/// Recorded frames, read whole into memory.
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
    /// Reads recorded frames, plain or gzip: one frame per line, which is then of `category`, or a recorder's records
    /// `{"t":"recv","conn":…,"ts":…,"data":"<frame>"}`, whose category is in the address of their connection.
    /// Acks and lines that are no frame are skipped.
    ///
    /// # Errors
    /// If the file cannot be read, is larger than 1 GiB unpacked, or holds no data frame at all.
    pub fn read(path: impl Into<PathBuf>, category: Category) -> Result<Self, RecordingError> {
        file::read(&path.into(), category)
    }

    /// The same with its times treated so.
    #[must_use]
    pub fn with_times(mut self, times: Times) -> Self {
        self.times = times;
        self
    }

    /// Number of data frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is no frame; never true of a recording that was read.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Lines that were neither a data frame nor a recorder's note.
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
                let apart = wall_ms - self.first_at();
                apart - apart.rem_euclid(grid)
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

    /// Returns the time of the first frame, after the shift.
    pub fn begin(&mut self, wall_ms: i64) -> i64 {
        self.shift = self.recording.shift(wall_ms);
        self.next = 0;
        self.recording.first_at() + self.shift
    }

    pub fn put_off(&mut self, ms: i64) {
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
            let moved = |fill: &Fill| Fill { time: fill.time + shift, ..fill.clone() };
            out.push(MarketEvent::Frame {
                category: frame.category,
                topic: frame.topic.clone(),
                text,
                fills: frame.fills.iter().map(|(symbol, fill)| (symbol.clone(), moved(fill))).collect(),
            });
        }
    }
}

/// One instrument per recorded symbol. Tick and step are not recorded: the finest digits seen stand for them.
fn instruments(recording: &Recording) -> Vec<Instrument> {
    let mut seen = BTreeMap::<(Category, String), Option<(Amount, u32, u32)>>::new();
    for frame in &recording.frames {
        // A symbol may have klines or a book but no trade; it is listed all the same.
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
        }
    });
    listed.collect()
}

/// The frame with every time moved by `shift` ms. Works on the text, so that all else stays byte for byte.
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
