//! Figures of the way in: connections, frames, trades, and when windows are closed.

use std::fmt;

use klines_bybit::driver::Status;
use klines_bybit::rest::Figures;
use klines_bybit::session::Counters;
use klines_delivery::catalog::FeedState;
use klines_domain::aggregator::Tally;
use klines_domain::symbol::Category;

use super::seconds;
use super::sheet::{Sheet, Unit};
use crate::app::observed::Observed;

/// What one category's connections have seen together.
type Sum = (Category, Vec<Status>, Counters);

pub(super) fn write(sheet: &mut Sheet<'_>, observed: &Observed) -> fmt::Result {
    trades(sheet, &observed.tallies.read())?;
    let sums = observed.feeds.read().into_iter().map(|feed| (feed.category(), feed.connections(), feed.counters()));
    let sums: Vec<Sum> = sums.collect();
    connections(sheet, &sums)?;
    frames(sheet, &sums)?;
    rest(sheet, observed.gate.figures())?;
    let fresh = observed.freshness();
    let age = |what: fn(&crate::app::observed::Freshness) -> i64| {
        let heard = fresh.iter().filter(|feed| !feed.is_idle);
        heard.map(move |feed| (of(feed.category), seconds(what(feed).unsigned_abs()))).collect::<Vec<_>>()
    };
    sheet.gauges(
        "klines_feed_frame_age",
        "Time since the last frame, pongs included, of the connection that has waited longest.",
        Unit::Seconds,
        age(|feed| feed.frame_age),
    )?;
    sheet.gauges(
        "klines_feed_trade_age",
        "Time since the last frame of trades.",
        Unit::Seconds,
        age(|feed| feed.trade_age),
    )?;
    let feeds = observed.catalog.feeds().borrow().clone();
    let states = feeds.iter().flat_map(|feed| {
        FeedState::ALL.map(|state| (with(feed.category, "state", state.as_str()), u64::from(feed.state == state)))
    });
    sheet.gauges("klines_feed_state", "How the feed stands: 1 for the state that it is in.", Unit::Things, states)?;
    let bare: [(&str, &str); 0] = [];
    sheet.counters(
        "klines_batches",
        "Batches of klines handed to the consumers.",
        [(bare, observed.hub.published())],
    )?;
    sheet.histograms(
        "klines_closing_delay",
        "From the end of a window to its closed kline, by the exchange's clock; once a boundary.",
        [(bare, observed.hub.closing())],
    )
}

fn rest(sheet: &mut Sheet<'_>, figures: Figures) -> fmt::Result {
    let bare: [(&str, &str); 0] = [];
    sheet.counters(
        "klines_rest_requests",
        "Requests sent to the exchange's REST interface.",
        [(bare, figures.requests)],
    )?;
    sheet.counters(
        "klines_rest_limited",
        "Answers that complained of too many requests, each of which slows all of them down.",
        [(bare, figures.limited)],
    )?;
    sheet.counters(
        "klines_rest_stops",
        "Times that the exchange refused this address, which ends all requests for ten minutes.",
        [(bare, figures.stops)],
    )?;
    sheet.gauges(
        "klines_rest_resumes_in",
        "Time until the exchange is asked again over REST; 0 while it may be asked.",
        Unit::Seconds,
        [(bare, seconds(figures.resumes_in.unsigned_abs()))],
    )
}

fn of(category: Category) -> [(&'static str, &'static str); 1] {
    [("category", category.as_str())]
}

fn with(category: Category, name: &'static str, value: &'static str) -> [(&'static str, &'static str); 2] {
    [("category", category.as_str()), (name, value)]
}

/// `received` is the sum of the outcomes: both are of one moment.
fn trades(sheet: &mut Sheet<'_>, tallies: &[(Category, Tally)]) -> fmt::Result {
    sheet.counters(
        "klines_trades_received",
        "Trades that came to the aggregator.",
        tallies.iter().map(|(category, tally)| (of(*category), tally.received)),
    )?;
    let outcomes = tallies.iter().flat_map(|(category, tally)| {
        let outcomes = [
            ("counted", tally.counted),
            ("duplicate", tally.duplicate),
            ("late", tally.late),
            ("rejected", tally.rejected),
            ("excluded", tally.excluded),
        ];
        outcomes.map(|(outcome, count)| (with(*category, "outcome", outcome), count))
    });
    sheet.counters("klines_trades", "What became of the trades that were received; the sum is all of them.", outcomes)
}

fn connections(sheet: &mut Sheet<'_>, sums: &[Sum]) -> fmt::Result {
    let connections = sums.iter().flat_map(|(category, connections, _)| {
        let open = connections.iter().filter(|status| status.is_open).count();
        let states = [("open", open), ("closed", connections.len() - open)];
        states.map(|(state, count)| (with(*category, "state", state), count))
    });
    sheet.gauges("klines_feed_connections", "Connections to the exchange.", Unit::Things, connections)?;
    let topics = sums.iter().flat_map(|(category, connections, _)| {
        let sum = |what: fn(&Status) -> usize| connections.iter().map(what).sum::<usize>();
        let states = [
            ("wanted", sum(|status| status.wanted)),
            ("covered", sum(|status| status.covered)),
            ("refused", sum(|status| status.refused)),
        ];
        states.map(|(state, count)| (with(*category, "state", state), count))
    });
    sheet.gauges("klines_feed_topics", "Topics that are wanted, acknowledged and refused.", Unit::Things, topics)?;
    let opened = sums.iter().map(|(category, _, counters)| (of(*category), counters.opened));
    sheet.counters("klines_feed_connections_opened", "Connections that were opened.", opened)?;
    let failed = sums
        .iter()
        .map(|(category, connections, _)| (of(*category), connections.iter().map(|status| status.failed).sum::<u64>()));
    sheet.counters("klines_feed_dials_failed", "Attempts that brought no connection.", failed)?;
    let gaps = sums.iter().map(|(category, _, counters)| (of(*category), counters.gaps));
    sheet.counters("klines_feed_gaps", "Times that topics lost their cover: trades may be missing.", gaps)
}

fn frames(sheet: &mut Sheet<'_>, sums: &[Sum]) -> fmt::Result {
    let kinds = sums.iter().flat_map(|(category, _, counters)| {
        let kinds = [
            ("trades", counters.trade_frames),
            ("canary", counters.canary_frames),
            ("answers", counters.answers),
            ("unknown_topic", counters.unknown_topics),
            ("unreadable", counters.unreadable),
            ("ignored", counters.ignored),
        ];
        kinds.map(|(kind, count)| (with(*category, "kind", kind), count))
    });
    sheet.counters("klines_feed_frames", "Frames by what they were; the sum is all of them.", kinds)?;
    let trades = sums.iter().map(|(category, _, counters)| (of(*category), counters.received));
    sheet.counters("klines_feed_trades", "Trades in frames, as they came off the sockets.", trades)
}
