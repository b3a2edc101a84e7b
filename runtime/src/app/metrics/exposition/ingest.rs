//! Metrics of ingest: connections, frames, trades, REST requests, and the delay of closed klines.

use std::fmt;

use klines_bybit::driver::Status;
use klines_bybit::rest::GateMetrics;
use klines_bybit::session::Counters;
use klines_delivery::catalog::FeedState;
use klines_domain::symbol::Category;
use klines_pipeline::CategoryTally;

use super::family::{Exposition, Unit};
use super::{repairs, seconds};
use crate::app::observed::{Freshness, Observed};

/// A category, the status of the connections of each set of its topics, and the sum of their counters.
type FeedTotals = (Category, Vec<Vec<Status>>, Counters);

pub(super) fn write(exposition: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
    let tallies = observed.tallies.read();
    trades(exposition, &tallies)?;
    repairs::write(exposition, &tallies)?;
    let totals = observed.feeds.read().into_iter().map(|feed| (feed.category(), feed.sets(), feed.counters()));
    let totals: Vec<FeedTotals> = totals.collect();
    connections(exposition, &totals)?;
    frames(exposition, &totals)?;
    rest(exposition, observed.gate.metrics())?;
    let fresh = observed.freshness();
    let age = |what: fn(&Freshness) -> i64| {
        let active = fresh.iter().filter(|feed| !feed.is_idle);
        active.map(move |feed| (of(feed.category), seconds(what(feed).unsigned_abs()))).collect::<Vec<_>>()
    };
    redundancy(exposition, &fresh)?;
    exposition.gauges(
        "klines_feed_frame_age",
        "Time in seconds since the last frame, pongs included, of the set of topics that has been silent longest.",
        Unit::Seconds,
        age(|feed| feed.frame_age),
    )?;
    exposition.gauges(
        "klines_feed_trade_age",
        "Time in seconds since the last frame of trades on any connection.",
        Unit::Seconds,
        age(|feed| feed.trade_age),
    )?;
    let feeds = observed.catalog.feeds().borrow().clone();
    let states = feeds.iter().flat_map(|feed| {
        FeedState::ALL.map(|state| (with(feed.category, "state", state.as_str()), u64::from(feed.state == state)))
    });
    exposition.gauges(
        "klines_feed_state",
        "State of the feed: 1 for the current state, 0 for the others.",
        Unit::None,
        states,
    )?;
    let bare: [(&str, &str); 0] = [];
    exposition.counters(
        "klines_batches",
        "Total number of batches of klines published to the consumers.",
        [(bare, observed.hub.published())],
    )?;
    exposition.histograms(
        "klines_closing_delay",
        "Time in seconds from the end of a window to its closed kline by the exchange's clock, once per boundary.",
        [(bare, observed.hub.closing())],
    )
}

fn rest(exposition: &mut Exposition<'_>, gate: GateMetrics) -> fmt::Result {
    let bare: [(&str, &str); 0] = [];
    exposition.counters(
        "klines_rest_requests",
        "Total number of requests sent to the exchange's REST API.",
        [(bare, gate.requests)],
    )?;
    exposition.counters(
        "klines_rest_rate_limited_responses",
        "Total number of responses that reported too many requests; each one lowers the request rate.",
        [(bare, gate.limited)],
    )?;
    exposition.counters(
        "klines_rest_bans",
        "Total number of times the exchange banned this address; each one stops all requests for ten minutes.",
        [(bare, gate.stops)],
    )?;
    exposition.gauges(
        "klines_rest_ban_remaining",
        "Time in seconds until REST requests are sent again; 0 while they are allowed.",
        Unit::Seconds,
        [(bare, seconds(gate.resumes_in.unsigned_abs()))],
    )
}

pub(super) fn of(category: Category) -> [(&'static str, &'static str); 1] {
    [("category", category.as_str())]
}

pub(super) fn with(category: Category, name: &'static str, value: &'static str) -> [(&'static str, &'static str); 2] {
    [("category", category.as_str()), (name, value)]
}

/// Writes the counts of trades. Invariant: `received` = the sum of all outcomes, because both are from one snapshot.
fn trades(exposition: &mut Exposition<'_>, tallies: &[CategoryTally]) -> fmt::Result {
    exposition.counters(
        "klines_trades_received",
        "Total number of trades that the aggregator received.",
        tallies.iter().map(|CategoryTally { category, tally, .. }| (of(*category), tally.received)),
    )?;
    let outcomes = tallies.iter().flat_map(|CategoryTally { category, tally, .. }| {
        let outcomes = [
            ("counted", tally.counted),
            ("duplicate", tally.duplicate),
            ("late", tally.late),
            ("rejected", tally.rejected),
            ("excluded", tally.excluded),
            ("superseded", tally.superseded),
        ];
        outcomes.map(|(outcome, count)| (with(*category, "outcome", outcome), count))
    });
    exposition.counters("klines_trades", "Total number of received trades, by outcome.", outcomes)
}

fn connections(exposition: &mut Exposition<'_>, totals: &[FeedTotals]) -> fmt::Result {
    let connections = totals.iter().flat_map(|(category, sets, _)| {
        let (open, all) = (count(sets, |status| usize::from(status.is_open)), count(sets, |_| 1));
        let states = [("open", open), ("closed", all - open)];
        states.map(|(state, count)| (with(*category, "state", state), count))
    });
    exposition.gauges(
        "klines_feed_connections",
        "Number of connections to the exchange, by state.",
        Unit::None,
        connections,
    )?;
    topics(exposition, totals)?;
    let opened = totals.iter().map(|(category, _, counters)| (of(*category), counters.opened));
    exposition.counters("klines_feed_connections_opened", "Total number of connections that were opened.", opened)?;
    let failed = totals
        .iter()
        .map(|(category, sets, _)| (of(*category), sets.iter().flatten().map(|status| status.failed).sum::<u64>()));
    exposition.counters("klines_feed_dials_failed", "Total number of failed connection attempts.", failed)?;
    let gaps = totals.iter().map(|(category, _, counters)| (of(*category), counters.gaps));
    exposition.counters(
        "klines_feed_gaps",
        "Total number of gaps in the coverage of topics by one connection; another one may have covered them.",
        gaps,
    )
}

/// Sums a value over all connections.
fn count(sets: &[Vec<Status>], of: impl Fn(&Status) -> usize) -> usize {
    sets.iter().flatten().map(of).sum()
}

/// Writes how many connections keep each topic alive, and how many there should be.
fn redundancy(exposition: &mut Exposition<'_>, fresh: &[Freshness]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&Freshness) -> usize);
    const COUNTS: [Count; 2] = [
        (
            "klines_feed_redundancy",
            "Smallest number of sound connections of any topic; at 0 trades are missed.",
            |feed| feed.redundancy,
        ),
        ("klines_feed_redundancy_wanted", "Number of connections to open for each topic (exchange.feeds).", |feed| {
            feed.redundancy_wanted
        }),
    ];
    for (name, help, count) in COUNTS {
        let active = fresh.iter().filter(|feed| !feed.is_idle);
        exposition.gauges(name, help, Unit::None, active.map(|feed| (of(feed.category), count(feed))))?;
    }
    Ok(())
}

/// Writes the numbers of topics. Each set of topics counts once, as the connection that has most of them.
fn topics(exposition: &mut Exposition<'_>, totals: &[FeedTotals]) -> fmt::Result {
    type Count = (&'static str, &'static str, fn(&Status) -> usize);
    const COUNTS: [Count; 3] = [
        ("klines_feed_topics_wanted", "Number of topics that are to be subscribed.", |status| status.wanted),
        ("klines_feed_topics_covered", "Number of topics whose subscription is acknowledged.", |status| status.covered),
        ("klines_feed_topics_refused", "Number of topics that the exchange refused.", |status| status.refused),
    ];
    for (name, help, count) in COUNTS {
        let most = |set: &Vec<Status>| set.iter().map(count).max().unwrap_or(0);
        let sums = totals.iter().map(|(category, sets, _)| (of(*category), sets.iter().map(most).sum::<usize>()));
        exposition.gauges(name, help, Unit::None, sums)?;
    }
    Ok(())
}

fn frames(exposition: &mut Exposition<'_>, totals: &[FeedTotals]) -> fmt::Result {
    let kinds = totals.iter().flat_map(|(category, _, counters)| {
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
    exposition.counters("klines_feed_frames", "Total number of received frames, by kind.", kinds)?;
    let trades = totals.iter().map(|(category, _, counters)| (of(*category), counters.received));
    exposition.counters("klines_feed_trades", "Total number of trades in received frames.", trades)
}
