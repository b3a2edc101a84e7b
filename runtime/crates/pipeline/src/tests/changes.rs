//! Symbols and intervals that join and leave while the pipeline runs.

use super::*;

/// Returns a trade of the second symbol.
fn trade_of_second(at: Millis) -> FeedMessage {
    let mut message = trade(at, 0);
    let events = message.events.iter_mut();
    events.for_each(|event| {
        if let FeedEvent::Trade(trade) = event {
            trade.symbol = SymbolId(1);
        }
    });
    message
}

/// Returns an acknowledgement of the second symbol on the second connection.
fn up_second(received: LocalMillis) -> FeedMessage {
    let event = FeedEvent::Covered { symbols: vec![SymbolId(1)], from: received };
    on(1, message(received, Some(Link::Up), vec![event]))
}

fn eth() -> Symbol {
    Symbol::new("ETHUSDT").unwrap()
}

/// Returns the klines as symbol, start, whether they are confirmed, and sequence.
fn by_symbol(out: &mut Vec<Batch>) -> Vec<(String, Millis, bool, u64)> {
    let klines = out.drain(..).flat_map(|batch| batch.klines);
    klines
        .map(|kline| (kline.series.symbol.to_string(), kline.start - T0.get(), kline.confirm, kline.sequence))
        .collect()
}

#[test]
fn a_symbol_that_leaves_closes_what_is_over_and_flushes_what_is_open_without_a_word_about_others() {
    let (mut category, mut out) = (category(), Vec::new());
    category.change(&[eth()], &[], &mut out);
    category.take(up(local(-200, 0)), &mut out);
    category.take(up_second(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(on(1, trade_of_second(150)), &mut out);
    category.take(on(1, trade_of_second(1_010)), &mut out);
    category.change(&[], &[SymbolId(1)], &mut out);
    category.tick(local(1_030, 0), &mut out);
    assert!(out.is_empty(), "it is covered until its connection says otherwise");
    let events = vec![FeedEvent::Hole { symbols: vec![SymbolId(1)], last_seen: local(1_040, 0), until: None }];
    category.take(on(1, message(local(1_050, 0), Some(Link::Down), events)), &mut out);
    assert!(out.is_empty(), "the first window is in its grace");
    category.take(drained(local(1_080, 0)), &mut out);
    let both = [("BTCUSDT".to_owned(), 0, true, 1), ("ETHUSDT".to_owned(), 0, true, 1)];
    assert_eq!(by_symbol(&mut out), both);
    category.take(drained(local(1_200, 0)), &mut out);
    assert_eq!(by_symbol(&mut out), [("ETHUSDT".to_owned(), 1_000, false, 2)]);
    category.take(trade(1_500, 0), &mut out);
    category.take(drained(local(3_100, 0)), &mut out);
    let rest: Vec<Millis> = by_symbol(&mut out)
        .into_iter()
        .map(|(symbol, start, ..)| {
            assert_eq!(symbol, "BTCUSDT");
            start
        })
        .collect();
    assert_eq!(rest, [1_000, 2_000]);
    assert_eq!(category.tally().gaps, Default::default());
}

#[test]
fn the_window_in_which_a_symbol_leaves_is_not_confirmed_even_if_the_next_report_comes_late() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(trade(1_100, 0), &mut out);
    category.change(&[], &[SymbolId(0)], &mut out);
    let events = vec![FeedEvent::Hole { symbols: vec![SymbolId(0)], last_seen: local(1_900, 0), until: None }];
    category.take(message(local(1_950, 0), None, events), &mut out);
    category.take(drained(local(2_500, 0)), &mut out);
    let last = [("BTCUSDT".to_owned(), 0, true, 1), ("BTCUSDT".to_owned(), 1_000, false, 2)];
    assert_eq!(by_symbol(&mut out), last);
}

#[test]
fn a_symbol_that_comes_back_while_it_leaves_continues_its_sequence() {
    let (mut category, mut out) = (category(), Vec::new());
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(drained(local(1_079, 0)), &mut out);
    category.take(trade(1_100, 0), &mut out);
    category.change(&[], &[SymbolId(0)], &mut out);
    out.clear();
    category.change(&[Symbol::new("BTCUSDT").unwrap()], &[], &mut out);
    assert_eq!(by_symbol(&mut out), [("BTCUSDT".to_owned(), 1_000, false, 2)], "the old number ends");
    category.take(up_second(local(1_150, 0)), &mut out);
    category.take(on(1, trade_of_second(1_200)), &mut out);
    category.take(drained(local(2_079, 0)), &mut out);
    category.take(on(1, drained(local(2_079, 0))), &mut out);
    assert_eq!(by_symbol(&mut out), [("BTCUSDT".to_owned(), 1_000, true, 2)]);
}

/// Returns the klines as interval, start, whether they are confirmed, quality, and sequence.
fn by_interval(out: &mut Vec<Batch>) -> Vec<(String, Millis, bool, Quality, u64)> {
    let klines = out.drain(..).flat_map(|batch| batch.klines);
    klines
        .map(|kline| {
            let interval = kline.series.interval.to_string();
            (interval, kline.start - T0.get(), kline.confirm, kline.quality, kline.sequence)
        })
        .collect()
}

#[test]
fn windows_that_are_over_close_before_other_intervals_take_their_place() {
    let (mut category, mut out) = (category(), Vec::new());
    let intervals = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    category.take(up(local(-200, 0)), &mut out);
    category.take(trade(100, 0), &mut out);
    category.take(trade(1_010, 0), &mut out);
    category.tick(local(1_030, 0), &mut out);
    category.set_intervals(intervals(&["5s"]), &mut out);
    assert_eq!(category.boundary(0), local(1_079, 0));
    category.tick(local(1_070, 0), &mut out);
    assert!(out.is_empty(), "the first window is in its grace");
    category.take(drained(local(1_500, 0)), &mut out);
    let klines = by_interval(&mut out);
    let complete = Quality::Complete;
    assert_eq!(klines, [("1s".to_owned(), 0, true, complete, 1), ("1s".to_owned(), 1_000, false, complete, 2)]);
    category.take(drained(local(4_000, 0)), &mut out);
    category.set_intervals(intervals(&["1s", "5s"]), &mut out);
    category.take(drained(local(6_200, 0)), &mut out);
    let klines = by_interval(&mut out);
    let first = ("1s".to_owned(), 4_000, true, complete, 2);
    assert_eq!(klines[..2], [first, ("5s".to_owned(), 0, true, complete, 1)], "{klines:?}");
}

#[test]
fn a_category_that_is_opened_after_a_change_has_the_new_intervals() {
    let (clock, hub, tallies) = (LocalClock::start(), Arc::new(Hub::new()), Tallies::default());
    let mut pipeline = Pipeline::new(mpsc::channel(1).1, mpsc::channel(1).1, clock, hub, tallies);
    pipeline.join(Some(CategoryUpdate::Intervals(vec!["5s".parse().unwrap()])));
    let feed = CategoryFeed {
        pipeline: category(),
        boundaries: Vec::new(),
        requests: None,
        renewals: watch::Sender::default(),
    };
    pipeline.join(Some(CategoryUpdate::Opened(Box::new(feed))));
    pipeline.take(up(local(-200, 0)));
    pipeline.take(trade(100, 0));
    assert_eq!(pipeline.categories[0].pipeline.boundary(0), local(5_079, 0));
}

#[tokio::test]
async fn messages_of_a_connection_wait_until_the_pipeline_knows_its_symbols() {
    let (updates, joining) = mpsc::channel(2);
    let (out, inbox) = mpsc::channel(2);
    let (tallies, hub) = (Tallies::default(), Arc::new(Hub::new()));
    let pipeline = Pipeline::new(joining, mpsc::channel(1).1, LocalClock::start(), hub, tallies.clone());
    let boundary = || watch::Sender::new(LocalMillis::MAX);
    let feed = CategoryFeed {
        pipeline: category(),
        boundaries: vec![boundary()],
        requests: None,
        renewals: watch::Sender::default(),
    };
    updates.send(CategoryUpdate::Opened(Box::new(feed))).await.ok().unwrap();
    out.send(on(1, trade_of_second(100))).await.unwrap();
    let run = tokio::spawn(pipeline.run(inbox));
    while out.capacity() < 2 {
        tokio::task::yield_now().await;
    }
    let boundaries = vec![boundary(), boundary()];
    let (category, joined, published) = (Category::Linear, vec![eth()], Published::new());
    let change = SymbolChange { category, joined, published, left: Vec::new(), boundaries };
    updates.send(CategoryUpdate::Changed(change)).await.ok().unwrap();
    drop(out);
    run.await.unwrap();
    let tally = tallies.read()[0].tally;
    assert_eq!((tally.counted, tally.rejected), (1, 1), "one row of the frame was no trade");
}
