//! Configuration of the simulated exchange.

use std::{net::SocketAddr, time::Duration};

use crate::{limits::Limits, market::Market, script::Script};

/// Configuration of the simulated exchange.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Address to listen on; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Source of the trades.
    pub market: Market,
    /// Limits to enforce.
    pub limits: Limits,
    /// Faults to inject, timed from the start.
    pub script: Script,
    /// Market seconds per real second, above 0 and at most 10,000. Default 1.
    pub speed: f64,
    /// Records all events on stream connections for [`Sim::journal`](crate::Sim::journal). Grows without bound. Default
    /// off.
    pub journal: bool,
    /// How far the exchange's clock is ahead of the wall clock, in ms; a negative value is behind. Default 0.
    pub ahead_ms: i64,
    /// How far back the klines of REST reach before the tape of a seeded market begins, extended to the start of the week
    /// and month at that point. Symbols that are listed later have no history. Default 42 days, which holds 1,000
    /// hours; zero for none.
    pub history: Duration,
    /// How far the klines of REST are behind the trades, in market time: a closed minute still lacks its newest trades
    /// until this long after its end. Default 1,005 ms, the longest delay of a closing push that was measured.
    pub settle: Duration,
    /// Delay of the data of every second stream connection, so that feeds differ. Default zero.
    pub lag: Duration,
}

impl SimConfig {
    /// Returns a configuration of `market` on a free loopback port, with Bybit's limits, no faults, in real time.
    pub fn new(market: Market) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market,
            limits: Limits::default(),
            script: Script::default(),
            speed: 1.0,
            journal: false,
            ahead_ms: 0,
            history: Duration::from_secs(42 * 86_400),
            settle: Duration::from_millis(1_005),
            lag: Duration::ZERO,
        }
    }
}
