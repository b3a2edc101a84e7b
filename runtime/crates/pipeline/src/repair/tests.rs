//! What is asked about a gap, in which order, and what an answer proves. Whole runs with repairs are simulated by seed.

use klines_domain::aggregator::Settings;
use klines_domain::decimal::Decimal;
use klines_domain::feed::FeedEvent;
use klines_domain::repair::{Candle, Grain};
use klines_domain::symbol::{Category, Symbol};
use klines_domain::time::HOUR;
use klines_domain::trade::{Quantity, Side, TradeId};

use super::*;

/// 2024-01-01T00:00:00Z; minutes, hours and days begin here.
const T0: ExchangeMillis = ExchangeMillis::new(1_704_067_200_000);
const ONE: SymbolId = SymbolId(0);

struct Bench {
    aggregator: Aggregator,
    repairer: Repairer,
}

impl Bench {
    /// A symbol that is covered from `T0` on, so that nothing is to be seeded.
    fn new(settings: RepairSettings) -> Self {
        let intervals = vec!["1m".parse().unwrap()];
        let mut aggregator =
            Aggregator::new(Settings { is_repaired: true, ..Settings::new(Category::Linear, intervals) });
        aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
        aggregator.apply(&FeedEvent::Covered { symbols: vec![ONE], from: T0 });
        Self { aggregator, repairer: Repairer::new(settings) }
    }

    fn saw(&mut self, at: Millis) {
        let trade = trade(at);
        self.repairer.saw(&trade);
        self.aggregator.apply(&FeedEvent::Trade(trade));
    }

    fn gap(&mut self, last_seen: Millis, until: Millis) {
        let (last_seen, until) = (T0 + last_seen, Some(T0 + until));
        self.aggregator.apply(&FeedEvent::Hole { symbols: vec![ONE], last_seen, until });
    }

    fn asks(&mut self, at: Millis) -> Vec<Request> {
        let mut out = Vec::new();
        self.repairer.advance(T0 + at, &mut self.aggregator, &mut out);
        out
    }

    fn answer(&mut self, at: Millis, request: Request, result: Result<Found, Failure>) {
        self.repairer.answer(Answer { request, result }, T0 + at, &mut self.aggregator);
    }

    fn gaps(&self) -> Vec<(Millis, Millis)> {
        self.aggregator.gaps(ONE).into_iter().map(|(from, to)| (from - T0, to - T0)).collect()
    }
}

/// A trade whose id is its time.
fn trade(at: Millis) -> Trade {
    let (price, size) = (Quantity { mantissa: 7, scale: 0 }, Quantity { mantissa: 1, scale: 0 });
    let id = TradeId::Number(at.unsigned_abs());
    Trade { symbol: ONE, time: T0 + at, sequence: 0, price, size, side: Side::Buy, block: false, id }
}

fn trades(times: &[Millis]) -> Result<Found, Failure> {
    Ok(Found::Trades(times.iter().map(|at| trade(*at)).collect()))
}

/// The candle of a minute with this many trades.
fn minute(start: Millis, trades: i128) -> Candle {
    let price = Quantity { mantissa: 7, scale: 0 };
    let (volume, turnover) = (Decimal::new(trades, 0), Decimal::new(7 * trades, 0));
    Candle { start: T0 + start, open: price, high: price, low: price, close: price, volume, turnover }
}

const RECENT: Request = Request::RecentTrades { symbol: ONE };
const DEFAULT: RepairSettings = RepairSettings { horizon: 24 * HOUR, candles: true };

#[test]
fn recent_trades_that_reach_from_before_a_gap_to_a_trade_after_it_fill_it() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    assert!(bench.asks(1_500).is_empty());
    bench.gap(2_000, 5_000);
    assert_eq!(bench.asks(5_100), [RECENT]);
    bench.saw(5_500);
    bench.answer(6_000, RECENT, trades(&[1_000, 3_000, 5_500]));
    assert_eq!((bench.gaps(), bench.asks(6_000)), (vec![], vec![]));
    assert_eq!(bench.aggregator.tally().counted, 3, "the trade at 3 s was recovered, the others were seen");
    assert!(bench.repairer.is_idle());
}

#[test]
fn a_start_of_coverage_that_is_corrected_later_reopens_only_what_the_trades_did_not_confirm() {
    let mut bench = Bench::new(DEFAULT);
    bench.gap(2_000, 5_000);
    assert_eq!(bench.asks(5_100), [RECENT]);
    bench.saw(5_500);
    // The feed did not bring the one at 5.1 s, although it was said to be up.
    bench.answer(6_000, RECENT, trades(&[1_000, 3_000, 5_100, 5_500]));
    assert_eq!((bench.gaps(), bench.aggregator.tally().counted), (vec![], 3));
    let mut starts_at = |from, at| {
        let (from, at) = (T0 + from, T0 + at);
        bench.aggregator.apply(&FeedEvent::Delayed { symbols: vec![ONE], from, at });
        bench.gaps()
    };
    assert_eq!(starts_at(5_000, 5_200), []);
    assert_eq!(starts_at(5_200, 5_600), [(5_500, 5_599)], "of the millisecond of the last one, others may be missing");
}

#[test]
fn an_answer_without_a_trade_from_after_the_gap_proves_nothing_until_it_is_repeated() {
    let mut bench = Bench::new(DEFAULT);
    bench.gap(2_000, 5_000);
    assert_eq!(bench.asks(5_100), [RECENT]);
    bench.saw(5_500);
    bench.answer(6_000, RECENT, trades(&[1_000, 3_000]));
    assert_eq!(bench.gaps(), [(2_001, 4_999)], "the answer is older than the gap's end");
    assert_eq!((bench.asks(6_500), bench.asks(7_000)), (vec![], vec![RECENT]));
    bench.answer(7_100, RECENT, trades(&[1_000, 3_000, 5_500]));
    assert!(bench.gaps().is_empty());
    // The ids of both are known to be the same now. A quiet symbol has no trade that could be in both.
    bench.gap(10_000, 15_000);
    assert_eq!(bench.asks(15_100), [RECENT]);
    bench.answer(15_200, RECENT, trades(&[3_000, 5_500]));
    assert_eq!((bench.gaps().len(), bench.asks(18_100)), (1, vec![]));
    assert_eq!(bench.asks(18_200), [RECENT]);
    bench.answer(18_300, RECENT, trades(&[3_000, 5_500]));
    assert!(bench.gaps().is_empty(), "a second, identical answer 3 s later");
}

#[test]
fn what_the_recent_trades_do_not_reach_is_asked_for_in_settled_minutes() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    bench.gap(2_000, 50_000);
    assert_eq!(bench.asks(50_100), [RECENT]);
    bench.saw(51_000);
    bench.answer(51_100, RECENT, trades(&[40_000, 45_000, 51_000]));
    // Other trades of the same millisecond as the oldest one may be missing.
    assert_eq!(bench.gaps(), [(2_001, 40_000)]);
    assert!(bench.asks(62_999).is_empty(), "the minute is over, and not settled");
    let minutes = Request::Candles { symbol: ONE, grain: Grain::Minute, from: T0 - MINUTE, to: T0 };
    assert_eq!(bench.asks(63_000), [minutes]);
    let lie = Candle { volume: Decimal::new(2, 0), turnover: Decimal::new(14, 0), ..minute(0, 2) };
    bench.answer(63_100, minutes, Ok(Found::Candles(vec![minute(-MINUTE, 1), lie])));
    assert_eq!(bench.gaps().len(), 1, "three trades were seen, one more than the candle has");
    assert_eq!((bench.asks(64_000), bench.asks(65_100)), (vec![], vec![minutes]));
    bench.answer(65_200, minutes, Ok(Found::Candles(vec![minute(-MINUTE, 1), minute(0, 9)])));
    assert!(bench.gaps().is_empty());
    let gaps = bench.aggregator.tally().gaps;
    assert_eq!((gaps.gap, gaps.repaired, gaps.unknown), (47_999, 47_999, 0));
}

/// Its trades can still be recovered when it is over, also those of windows that are shorter than a minute.
#[test]
fn one_request_asks_for_the_candles_of_all_gaps() {
    let mut bench = Bench::new(DEFAULT);
    let ends = [2, 5, 9].map(|number| number * MINUTE + 5_000);
    ends.iter().for_each(|end| bench.gap(end - 3_000, *end));
    let after = ends[2] + 500;
    assert_eq!(bench.asks(after - 400), [RECENT]);
    bench.saw(after);
    // They reach back to none of the gaps.
    bench.answer(after + 100, RECENT, trades(&[after]));
    let (from, to) = (T0 + MINUTE, T0 + 9 * MINUTE);
    let candles = Request::Candles { symbol: ONE, grain: Grain::Minute, from, to };
    let settled = 10 * MINUTE + SETTLING;
    assert_eq!(bench.asks(settled), [candles], "from the one before the first on");
    let all: Vec<Candle> = (1..=9).map(|number| minute(number * MINUTE, 1)).collect();
    bench.answer(settled + 100, candles, Ok(Found::Candles(all)));
    assert_eq!((bench.gaps(), bench.asks(settled + 200)), (vec![], vec![]));
}

#[test]
fn no_candle_is_asked_for_of_the_minute_in_which_a_gap_begins_that_is_not_over() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    bench.gap(2_000, 20_000);
    assert_eq!(bench.asks(20_100), [RECENT]);
    bench.saw(21_000);
    bench.answer(21_100, RECENT, trades(&[15_000, 21_000]));
    let lost = FeedEvent::Hole { symbols: vec![ONE], last_seen: T0 + 50_000, until: None };
    bench.aggregator.apply(&lost);
    assert!((60_000..80_000).step_by(500).all(|at| bench.asks(at).is_empty()));
    bench.aggregator.apply(&FeedEvent::Covered { symbols: vec![ONE], from: T0 + 81_000 });
    assert_eq!(bench.asks(81_100), [RECENT]);
    bench.saw(82_000);
    bench.answer(82_100, RECENT, trades(&[45_000, 55_000, 70_000, 82_000]));
    assert_eq!(bench.gaps(), [(2_001, 15_000)]);
    let minutes = Request::Candles { symbol: ONE, grain: Grain::Minute, from: T0 - MINUTE, to: T0 };
    assert_eq!(bench.asks(82_200), [minutes]);
}

/// Under load the exchange can be seconds late: its candles lack the trades that its frames lack.
#[test]
fn candles_of_an_exchange_that_is_late_are_asked_for_when_its_frames_are_past_their_end() {
    let mut bench = Bench::new(DEFAULT);
    bench.gap(2_000, 50_000);
    assert_eq!(bench.asks(50_100), [RECENT]);
    bench.saw(51_000);
    bench.answer(51_100, RECENT, trades(&[45_000, 51_000]));
    bench.repairer.note_stamp(T0 + 58_000);
    assert!(bench.asks(63_000).is_empty());
    bench.repairer.note_stamp(T0 + 62_999);
    assert!(bench.asks(65_000).is_empty());
    bench.repairer.note_stamp(T0 + 63_000);
    let minutes = Request::Candles { symbol: ONE, grain: Grain::Minute, from: T0 - MINUTE, to: T0 };
    assert_eq!(bench.asks(67_000), [minutes]);
}

#[test]
fn a_failure_is_repeated_after_the_wait_that_it_requires() {
    let mut bench = Bench::new(DEFAULT);
    bench.gap(2_000, 5_000);
    assert_eq!(bench.asks(5_000), [RECENT]);
    bench.answer(5_100, RECENT, Err(Failure::Later { wait: 600_000 }));
    assert_eq!((bench.asks(605_099), bench.asks(605_100)), (vec![], vec![RECENT]));
    bench.answer(605_200, RECENT, Err(Failure::Later { wait: 0 }));
    assert_eq!((bench.asks(607_199), bench.asks(607_200)), (vec![], vec![RECENT]), "the second pause is 2 s");
    assert_eq!(bench.repairer.status().failures, 2);
}

#[test]
fn a_symbol_that_is_refused_for_good_and_a_gap_that_is_too_old_are_given_up() {
    let mut bench = Bench::new(DEFAULT);
    bench.gap(2_000, 5_000);
    let mut now = 200_000;
    while !bench.repairer.is_idle() || now == 200_000 {
        for request in bench.asks(now) {
            bench.answer(now, request, Err(Failure::Refused));
        }
        now += MINUTE;
    }
    assert!(bench.gaps().is_empty() && bench.aggregator.tally().gaps.unknown == 2_999);
    let mut old = Bench::new(RepairSettings { horizon: HOUR, candles: true });
    old.gap(2_000, 5_000);
    assert_eq!(old.asks(5_000), [RECENT]);
    old.answer(5_100, RECENT, Err(Failure::Later { wait: 2 * HOUR }));
    // Nothing is asked about the gap any more, only whether the silence since then has a cause.
    assert_eq!((old.asks(2 * HOUR + 5_100), old.aggregator.tally().gaps.unknown), (vec![RECENT], 2_999));
    assert!(old.repairer.is_idle());
}

#[test]
fn trades_that_were_missed_before_the_connection_was_lost_are_counted_too() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    bench.saw(4_000);
    // The feed was up until 5,000, and did not bring those at 3,000 and 4,500.
    bench.gap(5_000, 8_000);
    assert_eq!(bench.asks(8_100), [RECENT]);
    bench.saw(9_000);
    bench.answer(9_100, RECENT, trades(&[1_000, 3_000, 4_000, 4_500, 6_000, 9_000]));
    assert_eq!((bench.gaps(), bench.aggregator.tally().counted), (vec![], 6));
    let gaps = bench.aggregator.tally().gaps;
    // From the first to the last of them, and the gap itself.
    assert_eq!((gaps.gap, gaps.repaired, gaps.unknown), (1_501 + 2_999, 1_501 + 2_999, 0));
}

#[test]
fn a_silent_symbol_is_asked_about_less_and_less_often_unless_it_trades() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    let mut asked = Vec::new();
    for at in (0..2 * HOUR).step_by(500) {
        for request in bench.asks(at) {
            assert_eq!(request, RECENT);
            asked.push(at);
            bench.answer(at + 100, request, trades(&[1_000]));
        }
        if at == HOUR {
            bench.saw(at);
        }
    }
    // After 30 s, then twice as long each time, up to 8 min; after the trade at one hour, half as long.
    let minutes: Vec<Millis> = asked.iter().map(|at| at / MINUTE).collect();
    assert_eq!(minutes[..6], [0, 1, 3, 7, 15, 23]);
    assert_eq!(asked[0] / SECOND, 31);
    assert!(minutes.contains(&64) && !minutes.contains(&62), "{minutes:?}");
    assert!(bench.repairer.take_dead().is_empty() && bench.gaps().is_empty());
}

#[test]
fn a_symbol_that_has_traded_while_no_feed_brought_it_was_not_covered() {
    let mut bench = Bench::new(DEFAULT);
    bench.saw(1_000);
    assert_eq!((bench.asks(30_900), bench.asks(31_900)), (vec![], vec![RECENT]));
    bench.answer(32_000, RECENT, Err(Failure::Later { wait: 0 }));
    assert_eq!((bench.asks(91_000), bench.asks(92_000)), (vec![], vec![RECENT]));
    // This may be the last one of the feed.
    bench.answer(92_100, RECENT, trades(&[1_000, 1_900]));
    assert_eq!((bench.asks(211_000), bench.asks(213_000)), (vec![], vec![RECENT]));
    assert!(bench.repairer.take_dead().is_empty());
    bench.answer(213_100, RECENT, trades(&[1_000, 20_000, 88_000]));
    assert_eq!((bench.asks(213_100), bench.repairer.take_dead()), (vec![], vec![(ONE, T0 + 19_999)]));
    // A trade may still be on its way for 5 s.
    assert_eq!((bench.asks(242_000), bench.asks(244_000)), (vec![], vec![RECENT]));
    bench.answer(244_100, RECENT, trades(&[243_000, 243_900]));
    assert_eq!((bench.asks(248_000), bench.repairer.take_dead()), (vec![], vec![]));
    // Others may have been traded before the oldest one of the answer.
    assert_eq!((bench.asks(249_001), bench.repairer.take_dead()), (vec![], vec![(ONE, T0 + 1_000)]));
    // It did not help to subscribe again.
    assert_eq!((bench.asks(303_000), bench.asks(304_000)), (vec![], vec![RECENT]));
    bench.answer(304_100, RECENT, trades(&[303_000]));
    bench.saw(303_000);
    assert_eq!((bench.asks(310_000), bench.repairer.take_dead()), (vec![], vec![]), "the feed has brought it");
}

/// Months begin here, too: 16 hours of minutes do not reach to the beginning of the day.
#[test]
fn old_recent_trades_do_not_divide_an_hour_that_only_a_candle_explains() {
    let intervals = vec!["1D".parse().unwrap()];
    let mut bench = Bench::new(DEFAULT);
    bench.aggregator = Aggregator::new(Settings { is_repaired: true, ..Settings::new(Category::Linear, intervals) });
    bench.aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
    bench.aggregator.apply(&FeedEvent::Covered { symbols: vec![ONE], from: T0 + 22 * HOUR });
    assert_eq!(bench.asks(22 * HOUR), [RECENT]);
    bench.saw(22 * HOUR + 1_000);
    bench.answer(22 * HOUR + 2_000, RECENT, trades(&[90 * MINUTE, 20 * HOUR, 22 * HOUR + 1_000]));
    assert_eq!(bench.gaps(), [(0, 2 * HOUR - 1)], "the rest is two whole hours");
}

#[test]
fn without_candles_the_rest_is_given_up() {
    let mut bench = Bench::new(RepairSettings { candles: false, ..DEFAULT });
    bench.gap(2_000, 50_000);
    assert_eq!(bench.asks(50_100), [RECENT]);
    bench.saw(51_000);
    bench.answer(51_100, RECENT, trades(&[40_000, 51_000]));
    assert!(bench.asks(51_100).is_empty() && bench.gaps().is_empty());
    let gaps = bench.aggregator.tally().gaps;
    assert_eq!((gaps.repaired, gaps.unknown), (9_999, 38_000));
}
