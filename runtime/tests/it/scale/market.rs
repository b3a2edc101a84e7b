//! An exchange on which all windows close at midnight: the batches that the aggregator creates, and the klines that
//! they have to contain, computed from the calendar alone.

use klines_domain::aggregator::{Aggregator, Settings};
use klines_domain::feed::FeedEvent;
use klines_domain::interval::Interval;
use klines_domain::kline::{Batch, Kline};
use klines_domain::symbol::{Category, Symbol, SymbolId};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Quantity, Side, Trade, TradeId};

/// Symbols of both categories.
pub const SYMBOLS: usize = 1_440;
/// How many of them are spot symbols.
const SPOT: usize = 440;
const INTERVALS: [&str; 14] = ["1s", "5s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "12h", "1D"];
/// 2024-01-01T00:00:00Z.
const MIDNIGHT: Millis = 1_704_067_200_000;
const DAY: Millis = 86_400_000;
/// How long before a midnight the market is watched, and how long after it.
const AROUND: Millis = 3_000;
const GRACE: Millis = 80;

/// Identifies a kline and its revision.
pub type Identity = (Category, Symbol, Interval, Millis, u32);

pub fn identity(kline: &Kline) -> Identity {
    (kline.series.category, kline.series.symbol.clone(), kline.series.interval, kline.start, kline.revision)
}

pub fn intervals() -> Vec<Interval> {
    INTERVALS.iter().map(|text| text.parse().unwrap()).collect()
}

/// Returns the symbols, spot ones last.
pub fn symbols() -> Vec<Symbol> {
    (0..SYMBOLS).map(|at| Symbol::new(&format!("S{at}USDT")).unwrap()).collect()
}

/// The seconds around one midnight.
pub struct Market {
    midnight: Millis,
    categories: Vec<(Category, Vec<Symbol>, Aggregator)>,
}

impl Market {
    /// Starts to watch all symbols shortly before the midnight that is `day` days after the first.
    pub fn new(day: i64) -> Self {
        let midnight = MIDNIGHT + day * DAY;
        let mut linear = symbols();
        let spot = linear.split_off(SYMBOLS - SPOT);
        let categories = [(Category::Linear, linear), (Category::Spot, spot)];
        let watched = |(category, symbols): (Category, Vec<Symbol>)| {
            let settings = Settings { update_interval: None, ..Settings::new(category, intervals()) };
            assert_eq!(settings.grace, GRACE);
            let mut aggregator = Aggregator::new(settings);
            let ids = symbols.iter().map(|symbol| aggregator.add_symbol(symbol)).collect();
            aggregator.apply(&FeedEvent::Covered { symbols: ids, from: ExchangeMillis::new(midnight - AROUND) });
            (category, symbols, aggregator)
        };
        Self { midnight, categories: categories.into_iter().map(watched).collect() }
    }

    /// Advances second by second and passes the batches of each moment to `take`. Every symbol trades once, at the
    /// beginning: later windows are flat.
    pub fn play(&mut self, mut take: impl FnMut(&[Batch])) {
        for (_, symbols, aggregator) in &mut self.categories {
            (0u32..).zip(symbols).for_each(|(at, _)| aggregator.apply(&trade(at, self.midnight - AROUND + 10)));
        }
        let mut now = self.midnight - AROUND;
        while now <= self.midnight + AROUND {
            let mut batches = Vec::new();
            for (_, _, aggregator) in &mut self.categories {
                aggregator.tick(ExchangeMillis::new(now + GRACE), &mut batches);
            }
            take(&batches);
            now += 1_000;
        }
    }

    /// Returns every kline that has to come, in no particular order: one for each window that ends in these seconds.
    pub fn expected(&self) -> Vec<Identity> {
        let (from, until) = (self.midnight - AROUND, self.midnight + AROUND);
        let mut expected = Vec::new();
        for (category, symbols, _) in &self.categories {
            for interval in intervals() {
                let mut start = interval.start_of(from);
                while interval.next(start) <= until {
                    expected.extend(symbols.iter().map(|symbol| (*category, symbol.clone(), interval, start, 0)));
                    start = interval.next(start);
                }
            }
        }
        expected
    }
}

fn trade(symbol: u32, time: Millis) -> FeedEvent<ExchangeMillis> {
    FeedEvent::Trade(Trade {
        symbol: SymbolId(symbol),
        time: ExchangeMillis::new(time),
        sequence: u64::from(symbol),
        price: Quantity { mantissa: 1_922_500, scale: 3 },
        size: Quantity { mantissa: 25, scale: 2 },
        side: Side::Buy,
        block: false,
        id: TradeId::Number(u64::from(symbol)),
    })
}
