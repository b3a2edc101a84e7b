//! Symbols that are no longer watched, and come back.

use super::*;

impl Bench {
    /// The feed ends after `last_seen`, then the symbol leaves.
    fn leave(&mut self, last_seen: Millis) -> &mut Self {
        self.gap(last_seen);
        self.aggregator.leave(SymbolId(0), &mut self.out);
        self
    }
}

#[test]
fn what_is_open_is_flushed_unconfirmed_and_nothing_follows() {
    let mut bench = Bench::new(&["1s", "1m"], |settings| settings.update_interval = Some(1_000));
    bench.watch(0).trade(10, 3).trade(1_010, 4).tick(1_100);
    bench.emitted();
    bench.leave(1_050);
    assert_eq!(bench.emitted(), ["1s@1000 3/4/3/4 1 gapped open #2", "1m@0 3/4/3/4 2 gapped open #1"]);
    let before = bench.aggregator.tally();
    bench.watch(1_200).trade(1_300, 9).tick(180_000);
    assert!(bench.emitted().is_empty());
    let after = bench.aggregator.tally();
    assert_eq!((after.counted, after.rejected), (before.counted, before.rejected + 1), "it is not watched");
    assert_eq!(after.gaps, before.gaps);
}

#[test]
fn a_revision_that_is_due_is_not_lost() {
    let mut bench = Bench::new(&["1s"], |_| ());
    bench.watch(0).trade(100, 5).trade(1_100, 6).tick(2_080);
    bench.emitted();
    bench.trade(1_200, 7).leave(2_050);
    assert_eq!(bench.emitted(), ["1s@1000 5/7/5/7 2 complete r1 #3"]);
}

#[test]
fn a_symbol_that_comes_back_continues_its_sequence_and_counts_no_gap() {
    let mut bench = Bench::new(&["1s", "1m"], |_| ());
    bench.watch(0).trade(10, 3).trade(1_010, 4).tick(1_100).leave(1_050);
    bench.emitted();
    let symbol = bench.aggregator.add_symbol(&Symbol::new("BTCUSDT").unwrap());
    assert_eq!(symbol, SymbolId(1));
    bench.aggregator.apply(&FeedEvent::Covered { symbols: vec![symbol], from: T0 + 9_000 });
    bench.aggregator.trade(&Trade { symbol, ..sample(T0 + 9_100, 8, 1, TradeId::Number(99)) });
    bench.tick(60_080);
    let emitted = bench.emitted();
    assert_eq!(emitted[0], "1s@9000 8/8/8/8 1 gapped r0 #2", "{emitted:?}");
    assert_eq!(emitted.last().unwrap(), "1m@0 8/8/8/8 1 partial r0 #1", "{emitted:?}");
    assert_eq!(bench.aggregator.tally().gaps, GapTally::default());
}
