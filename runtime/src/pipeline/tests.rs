//! Local time becomes exchange time, and nothing is said before the exchange's time is known.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::kline::Quality;
use crate::domain::symbol::{Symbol, SymbolId};
use crate::domain::trade::{Quantity, Side, Trade, TradeId};

/// 2024-01-01T00:00:00Z on the exchange; the local clock is 20 s ahead, transit is 50 ms at best.
const T0: Millis = 1_704_067_200_000;
const AHEAD: Millis = 20_000;
const TRANSIT: Millis = 50;

fn lane() -> Lane {
    let mut table = SymbolTable::default();
    table.intern(&Symbol::new("BTCUSDT").unwrap());
    let settings = Settings::new(Category::Linear, vec!["1s".parse().unwrap()]);
    Lane::new(Settings { update_interval: None, ..settings }, &table)
}

/// Local time of receipt of what the exchange stamped at `T0 + at`, `late` ms slower than the fastest frame.
fn local(at: Millis, late: Millis) -> Millis {
    T0 + at + AHEAD + TRANSIT + late
}

fn change(received: Millis, event: FeedEvent) -> FeedMessage {
    FeedMessage { category: Category::Linear, received, stamped: None, rejected: 0, events: vec![event] }
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
    FeedMessage {
        category: Category::Linear,
        received: local(at, late),
        stamped: Some(T0 + at),
        rejected: 1,
        events: vec![FeedEvent::Trade(trade)],
    }
}

fn told(out: &mut Vec<Batch>) -> Vec<(Millis, Quality, u32)> {
    let klines = out.drain(..).flat_map(|batch| batch.klines);
    klines.map(|kline| (kline.start - T0, kline.quality, kline.revision)).collect()
}

#[test]
fn an_acknowledgement_waits_until_the_exchanges_time_is_known() {
    let (mut lane, mut out) = (lane(), Vec::new());
    let symbols = vec![SymbolId(0)];
    lane.take(change(local(-200, 0), FeedEvent::Resumed { symbols, at: local(-200, 0) }), &mut out);
    lane.tick(local(900, 0), &mut out);
    assert!(out.is_empty());
    lane.take(trade(1_300, 0), &mut out);
    lane.tick(local(2_078, 0), &mut out);
    assert!(out.is_empty(), "79 ms after the end");
    lane.tick(local(2_079, 0), &mut out);
    assert_eq!(told(&mut out), [(1_000, Quality::Complete, 0)], "covered from the acknowledgement on");
}

#[test]
fn an_interruption_begins_where_the_slowest_frame_would_have_been_stamped() {
    let (mut lane, mut out) = (lane(), Vec::new());
    let symbols = vec![SymbolId(0)];
    lane.take(change(local(0, 0), FeedEvent::Resumed { symbols: symbols.clone(), at: local(0, 0) }), &mut out);
    lane.take(trade(100, 0), &mut out);
    lane.take(trade(1_100, 300), &mut out);
    // Received when the fastest frame would have been stamped 2,250: the slowest 1,950.
    lane.take(
        change(local(2_250, 0), FeedEvent::Gap { symbols: symbols.clone(), last_seen: local(2_250, 0) }),
        &mut out,
    );
    lane.take(change(local(4_000, 0), FeedEvent::Resumed { symbols, at: local(4_000, 0) }), &mut out);
    lane.tick(local(2_500, 0), &mut out);
    assert_eq!(told(&mut out), [(0, Quality::Complete, 0), (1_000, Quality::Gapped, 0)]);
}

#[test]
fn every_row_is_accounted_for() {
    let (mut lane, mut out) = (lane(), Vec::new());
    for message in [trade(100, 0), trade(100, 0), trade(200, 0)] {
        lane.take(message, &mut out);
    }
    let Tally { received, counted, duplicate, late, rejected, excluded } = lane.aggregator.tally();
    assert_eq!((received, counted, duplicate, late, rejected, excluded), (6, 2, 1, 0, 3, 0));
}

/// A frame: how long after the one before it was stamped, how long after its match, how late it comes, and whether it
/// can be read.
fn frames() -> impl Strategy<Value = Vec<(Millis, Millis, Millis, bool)>> {
    proptest::collection::vec((1_i64..80, 0_i64..4, 0_i64..200, proptest::bool::weighted(0.95)), 40..150)
}

proptest! {
    #[test]
    fn no_kline_that_may_lack_a_trade_passes_for_complete(frames in frames(), from in 0_i64..1_000) {
        let (mut lane, mut out) = (lane(), Vec::new());
        let symbols = vec![SymbolId(0)];
        lane.take(change(local(from, 0), FeedEvent::Resumed { symbols: symbols.clone(), at: local(from, 0) }), &mut out);
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
                lane.take(message, &mut out);
            } else {
                // Of one that is slower or faster than all before it nobody can tell when it was stamped.
                lost.extend((least <= late && late <= most).then_some(matched));
                let mut message = change(received, FeedEvent::Gap { symbols: symbols.clone(), last_seen: received - 1 });
                message.events.push(FeedEvent::Resumed { symbols: symbols.clone(), at: received + 1 });
                lane.take(message, &mut out);
            }
        }
        (at..at + 3_000).step_by(10).for_each(|at| lane.tick(local(at, 0), &mut out));
        let last: BTreeMap<_, _> = told(&mut out).into_iter().map(|(start, quality, _)| (start, quality)).collect();
        for matched in lost {
            let quality = last.get(&(matched - matched % 1_000));
            prop_assert_ne!(quality, Some(&Quality::Complete), "{} {:?}", matched, last);
        }
    }
}
