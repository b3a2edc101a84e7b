//! For which time a connection certainly delivered everything. All of it is true time.

use klines_domain::time::{Millis, SECOND};

use crate::plan::Plan;

/// How far from the beginning and the end of a connection a trade may be known or not: transit, clocks and timers.
const SLACK: Millis = 2 * SECOND;
/// How long before the end of a run a window must have ended to be closed.
pub const CLOSING: Millis = 2 * SECOND;
/// How long it takes until five stamps agree on a time that is far from the local one. The frames before are refused.
const AGREEING: Millis = 15 * SECOND;
/// A stamp that is further from the local clock is believed only if others agree.
const FAR: Millis = 25 * SECOND;

/// The time for which a connection certainly delivered everything, in spans.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    pub spans: Vec<(Millis, Millis)>,
    pub since: Option<Millis>,
    /// When trades were last read.
    pub read: Millis,
    /// The longest time from a frame's stamp until it was read.
    pub slowest: Millis,
}

impl Delivery {
    pub fn end(&mut self, at: Millis) {
        if let Some(since) = self.since.take() {
            self.spans.push((since, at));
        }
    }
}

/// Returns the spans of the exchange's time of which everything is certain to have been delivered by one connection or
/// another.
pub fn certain(plan: &Plan, deliveries: &[&Delivery]) -> Vec<(Millis, Millis)> {
    // A loss is noticed as late as a frame can be, and what was read last can be as old as that.
    let slowest = deliveries.iter().map(|delivery| delivery.slowest).max().unwrap_or_default();
    let margin = SLACK + 2 * slowest;
    let begin = SLACK + if plan.ahead.abs() > FAR { AGREEING } else { 0 };
    let inner = |(from, to): &(Millis, Millis)| (from + begin, (to - margin).min(plan.end - CLOSING));
    let mut spans: Vec<_> = deliveries.iter().flat_map(|delivery| &delivery.spans).map(inner).collect();
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut joined: Vec<(Millis, Millis)> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some((_, end)) if from <= *end => *end = to.max(*end),
            _ => joined.push((from, to)),
        }
    }
    joined.into_iter().flat_map(|span| plan.steps.spans(span)).collect()
}
