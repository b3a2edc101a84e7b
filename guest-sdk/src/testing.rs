//! The host of unit tests: collects the log, simulates the terminal and makes sample klines. Each test thread has its
//! own host. It is not part of a component.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::emit::Value;
use crate::{Batch, Category, Consumer, ExactKline, Failure, Interval, Kline, Level, Quality, TerminalInfo};

/// The maximum length of a published JSON text in bytes.
const MAX_JSON: usize = 4 << 10;

#[derive(Default)]
struct TestHost {
    logs: Vec<(Level, String)>,
    terminal: Option<TerminalInfo>,
    digits: Vec<ExactKline>,
    state: BTreeMap<String, Vec<u8>>,
    emitted: Vec<(usize, String, Value)>,
    history: Vec<Kline>,
    #[cfg(feature = "http")]
    http: Http,
    /// The number of rows of the current batch, while [`consume`] runs.
    rows: Option<usize>,
}

/// The requests that were sent, with their bodies, and the answer to the next ones.
#[cfg(feature = "http")]
#[derive(Default)]
struct Http {
    sent: Vec<(crate::http::Request, String)>,
    answer: Option<Result<u16, crate::http::Error>>,
}

/// A value that was published.
#[derive(Debug, Clone)]
pub struct Emitted {
    /// The row for which it was published.
    pub row: usize,
    /// The kline of that row.
    pub kline: Kline,
    /// The name of the series.
    pub name: String,
    /// The value.
    pub value: Value,
}

impl Emitted {
    /// Returns the value if it is a number; `None` if it is JSON.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Value::Number(number) => Some(number),
            Value::Json(_) => None,
        }
    }

    /// Returns the value if it is JSON; `None` if it is a number.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        match &self.value {
            Value::Number(_) => None,
            Value::Json(text) => serde_json::from_str(text).ok(),
        }
    }
}

thread_local! {
    static HOST: RefCell<TestHost> = RefCell::default();
}

/// Takes the lines that were logged on this thread since the last call.
#[must_use]
pub fn take_logs() -> Vec<(Level, String)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.logs))
}

/// Takes the requests that were sent on this thread since the last call: their URLs and bodies.
#[cfg(feature = "http")]
#[must_use]
pub fn take_requests() -> Vec<(String, String)> {
    let sent = HOST.with_borrow_mut(|host| std::mem::take(&mut host.http.sent));
    sent.into_iter().map(|(request, body)| (request.url, body)).collect()
}

/// Sets the answer to all following requests on this thread; the status 200 at first.
#[cfg(feature = "http")]
pub fn set_answer(answer: Result<u16, crate::http::Error>) {
    HOST.with_borrow_mut(|host| host.http.answer = Some(answer));
}

#[cfg(feature = "http")]
pub(crate) fn send(request: &crate::http::Request, body: &[u8]) -> Result<u16, crate::http::Error> {
    HOST.with_borrow_mut(|host| {
        host.http.sent.push((request.clone(), String::from_utf8_lossy(body).into_owned()));
        host.http.answer.clone().unwrap_or(Ok(200))
    })
}

/// Sets what [`terminal`](crate::terminal) returns on this thread; `None` at first.
pub fn set_terminal(terminal: Option<TerminalInfo>) {
    HOST.with_borrow_mut(|host| host.terminal = terminal);
}

/// Sets the digits that [`Batch::exact`] returns on this thread, row by row. Rows beyond these have the shortest digits
/// of the kline's floats.
pub fn set_digits(digits: Vec<ExactKline>) {
    HOST.with_borrow_mut(|host| host.digits = digits);
}

/// Sets the klines that [`history`](crate::history) reads on this thread; none at first. The klines of a batch are to be
/// among them, because in the runtime they are.
pub fn set_history(klines: Vec<Kline>) {
    HOST.with_borrow_mut(|host| host.history = klines);
}

/// Takes all entries of this thread's [`state`](crate::state), ordered by key.
#[must_use]
pub fn take_state() -> Vec<(String, Vec<u8>)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.state)).into_iter().collect()
}

/// Passes a batch to the consumer as the runtime does, and returns the values that were published for it. As in the
/// runtime, a row that the batch does not have is refused, and the values and [`state`](crate::state) changes of a
/// failed call are discarded.
///
/// # Errors
/// The failure that the consumer returns.
pub fn consume(consumer: &mut impl Consumer, batch: &Batch) -> Result<Vec<Emitted>, Failure> {
    drop(take_emitted());
    let before = HOST.with_borrow_mut(|host| {
        host.rows = Some(batch.klines.len());
        host.state.clone()
    });
    let taken = consumer.consume(batch);
    let published = HOST.with_borrow_mut(|host| {
        host.rows = None;
        if taken.is_err() {
            host.state = before;
        }
        std::mem::take(&mut host.emitted)
    });
    taken.map(|()| {
        let of_row = |(row, name, value): (usize, String, Value)| {
            let kline = batch.klines.get(row)?.clone();
            Some(Emitted { row, kline, name, value })
        };
        published.into_iter().filter_map(of_row).collect()
    })
}

/// Returns a batch with these klines and no lost ones.
#[must_use]
pub fn batch(klines: Vec<Kline>) -> Batch {
    Batch { klines, lost: 0 }
}

/// Takes the values that were published through [`emit`](crate::emit) on this thread since the last call: row, name and
/// value. [`consume`] returns the values with their klines.
#[must_use]
pub fn take_emitted() -> Vec<(usize, String, Value)> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.emitted))
}

/// Returns a closed, complete kline with prices of 1 in the linear category. Change fields with struct update syntax
/// (`..`).
///
/// # Panics
/// If `interval` is not an interval.
#[must_use]
#[allow(clippy::expect_used, reason = "runs only in tests, which may fail loudly")]
pub fn kline(symbol: &str, interval: &str, start: u64) -> Kline {
    let interval: Interval = interval.parse().expect("a test gives a good interval");
    // The length of a month depends on the month; 31 days is one of the valid lengths.
    let length = interval.as_millis().unwrap_or(31 * 86_400_000);
    Kline {
        category: Category::Linear,
        symbol: symbol.to_owned(),
        interval,
        start,
        end: start + length - 1,
        open: 1.0,
        high: 1.0,
        low: 1.0,
        close: 1.0,
        volume: 1.0,
        turnover: 1.0,
        buy_volume: 1.0,
        buy_turnover: 1.0,
        price_decimals: 2,
        volume_decimals: 3,
        trades: 1,
        last_trade_time: start,
        confirm: true,
        revision: 0,
        quality: Quality::Complete,
        sequence: 1,
        emitted: start + length + 80,
    }
}

pub(crate) fn emit(row: usize, name: &str, value: Value) -> Result<(), String> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
        return Err("the name of a series is 1 to 32 of a-z 0-9 _ -".to_owned());
    }
    if let Value::Number(number) = value
        && !number.is_finite()
    {
        return Err(format!("{number} is not a number that can be published"));
    }
    if let Value::Json(text) = &value
        && text.len() > MAX_JSON
    {
        return Err(format!("{} bytes of JSON are more than {MAX_JSON}", text.len()));
    }
    HOST.with_borrow_mut(|host| {
        if let Some(rows) = host.rows.filter(|rows| row >= *rows) {
            return Err(format!("there is no row {row} in a batch of {rows}"));
        }
        host.emitted.push((row, name.to_owned(), value));
        Ok(())
    })
}

/// Answers as the runtime does in `start` and `consume`, but whatever the consumer subscribes to.
pub(crate) fn history(
    category: Category,
    symbol: &str,
    interval: Interval,
    before: u64,
    limit: u32,
) -> Result<Vec<Kline>, String> {
    if !(1..=1_000).contains(&limit) {
        return Err(format!("the limit is {limit}: ask for 1 to 1000 klines, and again for older ones"));
    }
    let is_wanted = |kline: &&Kline| {
        let is_same = (kline.category, kline.symbol.as_str(), kline.interval) == (category, symbol, interval);
        is_same && kline.confirm && kline.start < before
    };
    let mut found: BTreeMap<u64, Kline> = BTreeMap::new();
    HOST.with_borrow(|host| {
        for kline in host.history.iter().filter(is_wanted) {
            if found.get(&kline.start).is_none_or(|known| known.revision <= kline.revision) {
                found.insert(kline.start, kline.clone());
            }
        }
    });
    let surplus = found.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found.into_values().skip(surplus).collect())
}

pub(crate) fn state_get(key: &str) -> Option<Vec<u8>> {
    HOST.with_borrow(|host| host.state.get(key).cloned())
}

pub(crate) fn state_set(key: &str, value: &[u8]) -> Result<(), String> {
    if key.is_empty() || key.len() > 256 {
        return Err(format!("a key has 1 to 256 bytes, this one {}", key.len()));
    }
    HOST.with_borrow_mut(|host| host.state.insert(key.to_owned(), value.to_vec()));
    Ok(())
}

pub(crate) fn state_delete(key: &str) -> bool {
    HOST.with_borrow_mut(|host| host.state.remove(key)).is_some()
}

pub(crate) fn state_keys(prefix: &str) -> Vec<String> {
    HOST.with_borrow(|host| host.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect())
}

pub(crate) fn log(level: Level, message: &str) {
    HOST.with_borrow_mut(|host| host.logs.push((level, message.to_owned())));
}

pub(crate) fn terminal() -> Option<TerminalInfo> {
    HOST.with_borrow(|host| host.terminal)
}

#[allow(clippy::panic, reason = "runs only in tests, and the real host ends the instance here")]
pub(crate) fn exact(batch: &Batch, row: usize) -> ExactKline {
    let Some(kline) = batch.klines.get(row) else {
        panic!("row {row} of a batch of {}", batch.klines.len());
    };
    HOST.with_borrow(|host| host.digits.get(row).cloned()).unwrap_or_else(|| ExactKline {
        open: kline.open.to_string(),
        high: kline.high.to_string(),
        low: kline.low.to_string(),
        close: kline.close.to_string(),
        volume: kline.volume.to_string(),
        turnover: kline.turnover.to_string(),
        buy_volume: kline.buy_volume.to_string(),
        buy_turnover: kline.buy_turnover.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use crate::{NoSettings, emit, history, state};

    use super::*;

    /// Stores its row in the state and publishes a value for it; fails if the batch does not have the row.
    struct Publisher(usize);

    impl Consumer for Publisher {
        type Settings = NoSettings;

        fn setup(_: NoSettings) -> Result<Self, Failure> {
            Ok(Self(0))
        }

        fn consume(&mut self, _: &Batch) -> Result<(), Failure> {
            state::set("row", self.0.to_string()).map_err(Failure::fatal)?;
            emit::json(0, "first", &[1]).map_err(Failure::fatal)?;
            emit::number(self.0, "value", 2.0).map_err(Failure::fatal)
        }
    }

    #[test]
    fn published_values_are_returned_with_their_klines() {
        let rows = batch(vec![kline("BTCUSDT", "1m", 0), kline("ETHUSDT", "1m", 0)]);
        let published = consume(&mut Publisher(1), &rows).unwrap();
        assert_eq!((published[0].row, published[0].json()), (0, Some(serde_json::json!([1]))));
        assert_eq!((published[1].kline.symbol.as_str(), published[1].number()), ("ETHUSDT", Some(2.0)));
        assert_eq!(take_emitted(), []);
    }

    #[test]
    fn a_failed_call_publishes_and_stores_nothing() {
        let refused = consume(&mut Publisher(1), &batch(vec![kline("BTCUSDT", "1m", 0)])).unwrap_err();
        assert!(matches!(refused, Failure::Fatal(text) if text == "there is no row 1 in a batch of 1"));
        assert_eq!((take_emitted().len(), take_state().len()), (0, 0));
    }

    #[test]
    fn the_last_klines_of_a_series_are_read_in_pages() {
        let minute = |window: u64| kline("BTCUSDT", "1m", window * 60_000);
        let mut past: Vec<Kline> = (0..1_500).map(minute).collect();
        past.push(Kline { revision: 1, close: 2.0, ..minute(7) });
        past.push(kline("ETHUSDT", "1m", 0));
        set_history(past);
        let (category, interval) = (Category::Linear, minute(0).interval);
        let all = history::last(category, "BTCUSDT", interval, 9_999).unwrap();
        assert_eq!((all.len(), all[7].close), (1_500, 2.0));
        assert!(all.is_sorted_by_key(|kline| kline.start));
        assert_eq!(history::last(category, "BTCUSDT", interval, 1_200).unwrap(), all[300..]);
        assert_eq!(history::closed(category, "BTCUSDT", interval, 120_000, 1).unwrap(), all[1..2]);
        assert!(history::closed(category, "BTCUSDT", interval, 1, 1_001).is_err());
    }

    #[test]
    fn a_long_text_is_refused() {
        assert!(emit::json(0, "text", &"x".repeat(4_094)).is_ok());
        assert!(emit::json(0, "text", &"x".repeat(4_095)).is_err());
    }
}
