//! Local time is converted to exchange time, and no kline is emitted before the exchange time is known.

mod changes;

use std::collections::BTreeMap;

use klines_domain::aggregator::{Open, Settings};
use klines_domain::feed::{FeedEvent, Link};
use klines_domain::kline::Quality;
use klines_domain::symbol::{Symbol, SymbolId, SymbolTable};
use klines_domain::time::{ExchangeMillis, Millis};
use klines_domain::trade::{Quantity, Side, Trade, TradeId};
use proptest::prelude::*;

use super::*;

/// 2024-01-01T00:00:00Z on the exchange; the local clock is 20 s ahead, transit is 50 ms at best.
const T0: ExchangeMillis = ExchangeMillis::new(1_704_067_200_000);
const AHEAD: Millis = 20_000;
const TRANSIT: Millis = 50;

fn category() -> CategoryPipeline {
    category_of(&["BTCUSDT"])
}

fn category_of(symbols: &[&str]) -> CategoryPipeline {
    let mut table = SymbolTable::default();
    for symbol in symbols {
        table.intern(&Symbol::new(symbol).unwrap());
    }
    let settings = Settings::new(Category::Linear, vec!["1s".parse().unwrap()]);
    // The first trade opens, because the first window has no known previous close.
    CategoryPipeline::new(Settings { update_interval: None, open: Open::FirstTrade, ..settings }, &table)
}

/// Returns the local time of receipt of a frame with the stamp `T0 + at` that is `late` ms slower than the fastest one.
fn local(at: Millis, late: Millis) -> LocalMillis {
    LocalMillis::new(T0.get()) + at + AHEAD + TRANSIT + late
}

fn message(received: LocalMillis, link: Option<Link>, events: Vec<FeedEvent<LocalMillis>>) -> FeedMessage {
    FeedMessage { connection: Some(0), link, ..FeedMessage::of_category(Category::Linear, received, events) }
}

/// Returns an acknowledgement of the topics at that time.
fn up(received: LocalMillis) -> FeedMessage {
    let event = FeedEvent::Covered { symbols: vec![SymbolId(0)], from: received };
    message(received, Some(Link::Up), vec![event])
}

/// Returns a loss of the connection at that time.
fn down(received: LocalMillis) -> FeedMessage {
    let event = FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: received, until: None };
    message(received, Some(Link::Down), vec![event])
}

/// Returns a report that the socket has nothing more to read.
fn drained(received: LocalMillis) -> FeedMessage {
    message(received, Some(Link::Drained), Vec::new())
}

/// Returns a frame without trades with the stamp `T0 + at` that is `late` ms slower than the fastest one.
fn stamped(at: Millis, late: Millis) -> FeedMessage {
    FeedMessage { stamped: Some(T0 + at), ..message(local(at, late), None, Vec::new()) }
}

/// Moves a message to another connection.
fn on(number: usize, message: FeedMessage) -> FeedMessage {
    FeedMessage { connection: Some(number), ..message }
}

fn trade(at: Millis, late: Millis) -> FeedMessage {
    let quantity = Quantity { mantissa: 5, scale: 0 };
    let trade = Trade {
        symbol: SymbolId(0),
        time: T0 + at,
        sequence: 0,
        price: quantity,
        size: quantity,
        side: Side::Buy,
        block: false,
        id: TradeId::Number(u64::try_from(at).unwrap() + 1),
    };
    let message = message(local(at, late), None, vec![FeedEvent::Trade(trade)]);
    FeedMessage { stamped: Some(T0 + at), rejected: 1, ..message }
}

fn emitted(out: &mut Vec<Batch>) -> Vec<(Millis, Quality, u32)> {
    let klines = out.drain(..).flat_map(|batch| batch.klines);
    klines.map(|kline| (kline.start - T0.get(), kline.quality, kline.revision)).collect()
}

#[test]
fn an_acknowledgement_waits_until_the_exchanges_time_is_known() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(drained(local(900, 0)), &mut out);
    assert!(out.is_empty());
    category.take(trade(1_300, 0), &mut out);
    category.take(drained(local(2_078, 0)), &mut out);
    assert!(out.is_empty(), "79 ms after the end");
    category.take(drained(local(2_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(1_000, Quality::Complete, 0)], "covered from the acknowledgement on");
}

#[test]
fn a_window_closes_when_its_trades_have_been_read_and_not_by_the_clock() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    assert_eq!(category.boundary(0), local(1_079, 0));
    category.tick(local(1_500, 0), &mut out);
    assert!(out.is_empty(), "a stalled process has not read the frames that arrived meanwhile");
    category.take(trade(950, 600), &mut out);
    assert!(out.is_empty(), "stamped before the end");
    category.take(trade(1_079, 480), &mut out);
    assert_eq!(
        emitted(&mut out),
        [(0, Quality::Complete, 0)],
        "a later stamp proves that the earlier frames were read"
    );
    category.take(drained(local(2_078, 0)), &mut out);
    assert!(out.is_empty());
    category.take(drained(local(2_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(1_000, Quality::Complete, 0)], "an empty socket proves the same");
    assert_eq!(category.boundary(0), local(3_079, 0));
}

#[test]
fn a_later_acknowledgement_does_not_prove_that_trades_were_read() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(message(local(1_100, 0), Some(Link::Up), Vec::new()), &mut out);
    assert!(out.is_empty(), "a trade from before the end may follow");
    category.take(trade(950, 200), &mut out);
    category.take(drained(local(1_160, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)]);
    assert_eq!(category.tally().counted, 2);
}

#[test]
fn a_miss_with_an_impossible_time_leaves_the_symbol_covered() {
    const YEARS: Millis = 2_000_000_000_000;
    let (mut category, mut out) = (category(), Vec::new());
    let missed = |at| FeedEvent::Missed { symbol: SymbolId(0), from: T0 + at, to: T0 + at };
    // Reports a miss before the exchange time is known, and one after.
    category.take(message(local(-300, 0), None, vec![missed(YEARS)]), &mut out);
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(message(local(200, 0), None, vec![missed(YEARS)]), &mut out);
    category.take(down(local(300, 0)), &mut out);
    category.take(up(local(900, 0)), &mut out);
    category.take(trade(1_100, 0), &mut out);
    category.take(drained(local(2_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Gapped, 0), (1_000, Quality::Complete, 0)], "covered again at once");
}

#[test]
fn a_frame_with_a_rejected_stamp_marks_the_symbols_of_its_unreadable_rows() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    let tomorrow = T0 + 86_400_000;
    let missed = FeedEvent::Missed { symbol: SymbolId(0), from: tomorrow, to: tomorrow };
    let frame = FeedMessage { stamped: Some(tomorrow), rejected: 1, ..message(local(500, 0), None, vec![missed]) };
    category.take(frame, &mut out);
    category.take(drained(local(1_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Gapped, 0)]);
}

#[test]
fn every_connection_must_have_read_everything_unless_it_is_lost() {
    let (mut category, mut out) = (category_of(&["BTCUSDT", "ETHUSDT"]), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    let other = FeedEvent::Covered { symbols: vec![SymbolId(1)], from: local(-100, 0) };
    category.take(on(1, message(local(-100, 0), Some(Link::Up), vec![other])), &mut out);
    category.take(on(1, stamped(200, 0)), &mut out);
    category.take(drained(local(1_100, 0)), &mut out);
    assert!(out.is_empty(), "the other may hold trades");
    assert_eq!((category.boundary(0), category.boundary(1)), (LocalMillis::MAX, local(1_079, 0)));
    category.take(on(1, message(local(1_200, 0), Some(Link::Down), Vec::new())), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)]);
}

#[test]
fn of_connections_with_the_same_symbols_the_first_that_has_read_everything_closes_a_window() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(on(1, up(local(-200, 0))), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(on(1, stamped(100, 400)), &mut out);
    category.take(drained(local(1_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)], "the other is behind, and has nothing more to say");
    // After a loss the other one goes on where it is.
    category.take(down(local(1_500, 0)), &mut out);
    category.take(on(1, drained(local(2_078, 0))), &mut out);
    assert!(out.is_empty());
    category.take(on(1, drained(local(2_479, 0))), &mut out);
    assert_eq!(emitted(&mut out), [(1_000, Quality::Complete, 0)]);
}

#[test]
fn a_connection_closes_no_window_of_which_only_another_one_has_seen_the_beginning() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(on(1, up(local(700, 0))), &mut out);
    category.take(on(1, stamped(710, 0)), &mut out);
    category.take(on(1, drained(local(1_100, 0))), &mut out);
    assert!(out.is_empty(), "the first one may hold a trade from before 700");
    category.take(trade(600, 550), &mut out);
    // What is sent from 780 on can only be of trades that both bring.
    category.take(stamped(779, 400), &mut out);
    assert!(out.is_empty());
    category.take(stamped(780, 400), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)]);
    assert_eq!(category.tally().counted, 2);
}

#[test]
fn without_a_connection_windows_close_by_the_clock_and_are_gapped() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(down(local(500, 0)), &mut out);
    category.tick(local(1_079, 0), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Gapped, 0)]);
}

#[test]
fn a_category_follows_its_slowest_connection_and_drops_the_offset_of_a_lost_one() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(on(1, message(local(-200, 0), Some(Link::Up), Vec::new())), &mut out);
    // The second connection is 300 ms faster than the one that carries the trades.
    category.take(on(1, FeedMessage { stamped: Some(T0), ..message(local(-300, 0), None, Vec::new()) }), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(on(1, drained(local(1_000, 0))), &mut out);
    category.take(drained(local(1_000, 0)), &mut out);
    assert!(out.is_empty(), "by the slower connection the window is still open");
    category.take(on(1, message(local(1_010, 0), Some(Link::Down), Vec::new())), &mut out);
    category.take(drained(local(1_078, 0)), &mut out);
    assert!(out.is_empty(), "the offset of the lost connection closes no window");
    category.take(drained(local(1_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)]);
}

#[test]
fn coverage_that_began_later_than_assumed_is_corrected() {
    let (mut category, mut out) = (category(), Vec::new());
    // The acknowledgement and the first frames were 400 ms slower than the fastest frame will be: by them the exchange
    // sent the acknowledgement at 600, by a faster frame at 1,000.
    category.take(trade(100, 400), &mut out);
    category.take(up(local(600, 400)), &mut out);
    category.take(trade(1_500, 400), &mut out);
    category.take(drained(local(2_079, 400)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Partial, 0), (1_000, Quality::Complete, 0)]);
    category.take(trade(2_300, 0), &mut out);
    assert_eq!(emitted(&mut out), [], "the window from 1,000 on is covered either way");
    let (mut category, mut out) = (self::category(), Vec::new());
    category.take(trade(100, 400), &mut out);
    category.take(up(local(950, 400)), &mut out);
    category.take(trade(1_100, 400), &mut out);
    category.take(drained(local(2_079, 400)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Partial, 0), (1_000, Quality::Complete, 0)]);
    category.take(trade(2_300, 0), &mut out);
    assert_eq!(emitted(&mut out), [(1_000, Quality::Partial, 1)], "it may have begun at 1,350");
}

#[test]
fn a_jump_of_the_exchanges_clock_is_a_gap() {
    const HOUR: Millis = 3_600_000;
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(drained(local(1_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0)]);
    for n in 0..5 {
        let at = 1_200 + n;
        let trade = FeedMessage { received: local(at, 0), ..trade(at + HOUR, 0) };
        category.take(trade, &mut out);
    }
    category.take(drained(local(2_000, 0)), &mut out);
    let emitted = emitted(&mut out);
    assert_eq!(
        emitted,
        [(0, Quality::Gapped, 1)],
        "the time since the last frame is a hole, and no flat kline follows"
    );
    let tally = category.tally();
    assert_eq!((tally.received, tally.counted, tally.rejected), (12, 2, 10), "the stamps of four frames were rejected");
}

#[test]
fn what_passes_again_after_a_jump_back_of_the_exchanges_clock_is_a_gap() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(trade(40_500, 0), &mut out);
    category.take(drained(local(41_079, 0)), &mut out);
    assert_eq!(emitted(&mut out).len(), 41);
    for n in 0..5 {
        let trade = FeedMessage { received: local(41_200 + n, 0), ..trade(1_200 + n, 0) };
        category.take(trade, &mut out);
    }
    category.take(drained(local(42_000, 0)), &mut out);
    category.tick(local(42_300, 0), &mut out);
    let emitted = emitted(&mut out);
    // The last frame before came 0.7 s earlier: the clock can have been put to 0.5 s.
    assert_eq!(emitted.first(), Some(&(0, Quality::Gapped, 1)));
    assert!(emitted.iter().all(|(_, quality, _)| *quality == Quality::Gapped) && emitted.len() >= 40, "{emitted:?}");
}

#[test]
fn a_frame_with_a_rejected_stamp_is_not_counted_and_marks_its_symbol() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    let tomorrow = FeedMessage { received: local(500, 0), ..trade(86_400_000, 0) };
    category.take(tomorrow, &mut out);
    category.take(drained(local(1_079, 0)), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Gapped, 0)]);
    let tally = category.tally();
    assert_eq!((tally.received, tally.counted, tally.rejected), (4, 1, 3));
}

#[test]
fn an_interruption_begins_where_the_slowest_frame_would_have_been_stamped() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(0, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(trade(1_100, 300), &mut out);
    // At receipt the fastest frame would have been stamped 2,250 and the slowest 1,950.
    category.take(down(local(2_250, 0)), &mut out);
    category.take(up(local(4_000, 0)), &mut out);
    category.tick(local(2_500, 0), &mut out);
    assert_eq!(emitted(&mut out), [(0, Quality::Complete, 0), (1_000, Quality::Gapped, 0)]);
}

#[test]
fn an_interruption_begins_after_the_last_frame_however_slow_another_one_was() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(0, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(trade(1_100, 900), &mut out);
    category.take(trade(2_090, 0), &mut out);
    // By the slowest frame everything would have been seen until 1,190; the last frame shows that it was until 2,010.
    category.take(down(local(2_100, 0)), &mut out);
    category.take(up(local(4_000, 0)), &mut out);
    category.tick(local(3_500, 0), &mut out);
    let labels = [(0, Quality::Complete, 0), (1_000, Quality::Complete, 0), (2_000, Quality::Gapped, 0)];
    assert_eq!(emitted(&mut out), labels);
}

#[test]
fn every_row_is_accounted_for() {
    let (mut category, mut out) = (category(), Vec::new());
    for message in [trade(100, 0), trade(100, 0), trade(200, 0)] {
        category.take(message, &mut out);
    }
    let Tally { received, counted, duplicate, late, rejected, excluded, .. } = category.tally();
    assert_eq!((received, counted, duplicate, late, rejected, excluded), (6, 2, 1, 0, 3, 0));
}

/// A frame: how long after the previous one it was stamped, how long after its match, how late it arrives, and whether
/// it can be read.
fn frames() -> impl Strategy<Value = Vec<(Millis, Millis, Millis, bool)>> {
    proptest::collection::vec((1_i64..80, 0_i64..4, 0_i64..200, proptest::bool::weighted(0.95)), 40..150)
}

proptest! {
    #[test]
    fn no_kline_that_may_lack_a_trade_is_complete(frames in frames(), from in 0_i64..1_000) {
        let (mut category, mut out) = (category(), Vec::new());
        category.take(up(local(from, 0)), &mut out);
        let mut at = from + 4;
        let mut arriving = Vec::new();
        for (after, matched, late, readable) in frames {
            at += after;
            arriving.push((at, at - matched, late, readable));
        }
        arriving.sort_by_key(|(stamped, _, late, _)| stamped + late);
        let (mut least, mut most) = (Millis::MAX, Millis::MIN);
        let mut lost = Vec::new();
        for (stamped, matched, late, readable) in arriving {
            let received = local(stamped, late);
            if readable {
                (least, most) = (least.min(late), most.max(late));
                let message = FeedMessage { received, stamped: Some(T0 + stamped), ..trade(matched, 0) };
                category.take(message, &mut out);
            } else {
                // The stamp of a frame that is slower or faster than all before it cannot be estimated.
                lost.extend((least <= late && late <= most).then_some(matched));
                let (last_seen, until) = (received - 1, Some(received + 1));
                let hole = FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen, until };
                category.take(message(received, None, vec![hole]), &mut out);
            }
        }
        (at..at + 3_000).step_by(10).for_each(|at| category.take(drained(local(at, 0)), &mut out));
        let last: BTreeMap<_, _> = emitted(&mut out).into_iter().map(|(start, quality, _)| (start, quality)).collect();
        for matched in lost {
            let quality = last.get(&(matched - matched % 1_000));
            prop_assert_ne!(quality, Some(&Quality::Complete), "{} {:?}", matched, last);
        }
    }
}

/// Returns a pipeline with ten minutes of 300 symbols at one second, all read at once, of which one step has been
/// published.
fn pipeline_after_a_pause() -> (Pipeline, Arc<Hub>) {
    let clock = LocalClock::start();
    // The exchange's clock equals the local clock.
    let since = ExchangeMillis::new((clock.now().get() - 600_000) / 1_000 * 1_000);
    let received = LocalMillis::new(since.get());
    let mut table = SymbolTable::default();
    let symbols: Vec<_> = (0..300).map(|number| table.intern(&Symbol::new(&format!("S{number}")).unwrap())).collect();
    let settings = Settings::new(Category::Linear, vec!["1s".parse().unwrap()]);
    let mut category = CategoryPipeline::new(Settings { update_interval: None, ..settings }, &table);
    let quantity = Quantity { mantissa: 5, scale: 0 };
    let trades = symbols.iter().map(|symbol| Trade {
        symbol: *symbol,
        time: since,
        sequence: 0,
        price: quantity,
        size: quantity,
        side: Side::Buy,
        block: false,
        id: TradeId::None,
    });
    let events = trades.map(FeedEvent::Trade).chain([FeedEvent::Covered { symbols: symbols.clone(), from: received }]);
    let first = FeedMessage { stamped: Some(since), ..message(received, Some(Link::Up), events.collect()) };
    category.take(first, &mut Vec::new());
    let hub = Arc::new(Hub::new());
    let (joining, answers) = (mpsc::channel(1).1, mpsc::channel(1).1);
    let mut pipeline = Pipeline::new(joining, answers, clock, hub.clone(), Tallies::default());
    let feed =
        CategoryFeed { pipeline: category, boundaries: Vec::new(), requests: None, renewals: watch::Sender::default() };
    pipeline.join(Some(CategoryUpdate::Opened(Box::new(feed))));
    pipeline.take(drained(received + 600_079));
    (pipeline, hub)
}

/// A step ends after 8,192 klines; each batch of 300 klines counts as 308.
const BATCHES_A_STEP: u64 = 8_192 / 308 + 1;

#[test]
fn klines_due_after_a_pause_are_published_step_by_step() {
    let (mut pipeline, hub) = pipeline_after_a_pause();
    let mut published = hub.published();
    assert_eq!(published, BATCHES_A_STEP);
    while published < 600 {
        assert_eq!(pipeline.pause(), Duration::ZERO, "more is due at once");
        pipeline.tick();
        assert!(pipeline.out.is_empty());
        assert_eq!(hub.published(), (published + BATCHES_A_STEP).min(600));
        published = hub.published();
    }
    assert!(pipeline.pause() > Duration::ZERO);
}

#[test]
fn klines_due_at_the_end_are_published_step_by_step() {
    let (mut pipeline, hub) = pipeline_after_a_pause();
    pipeline.finish();
    assert_eq!(hub.published(), 600);
    // The capacity of the buffer, which doubles when it grows, shows how much was held at once.
    assert!(pipeline.out.capacity() < 2 * usize::try_from(BATCHES_A_STEP).unwrap(), "{}", pipeline.out.capacity());
}
