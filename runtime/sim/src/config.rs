//! What is simulated, and where.

use std::{net::SocketAddr, time::Duration};

use crate::{limits::Limits, market::Market, script::Script};

/// What to simulate, and where.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Address to listen on; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Source of the trades.
    pub market: Market,
    /// Limits to enforce.
    pub limits: Limits,
    /// Faults to come, timed from the start.
    pub script: Script,
    /// Market seconds per real second, above 0 and at most 10,000. Default 1.
    pub speed: f64,
    /// Keeps what every stream connection was sent, for [`Sim::journal`](crate::Sim::journal). Grows without bound. Default off.
    pub journal: bool,
    /// How far the exchange's clock is ahead of the wall clock, in ms; negative is behind. Default 0.
    pub ahead_ms: i64,
    /// How long data of every second stream connection is on its way, so that feeds differ. Default zero.
    pub lag: Duration,
}

impl SimConfig {
    /// A market on a free port of the loopback, with Bybit's limits and no faults, in real time.
    pub fn new(market: Market) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            market,
            limits: Limits::default(),
            script: Script::default(),
            speed: 1.0,
            journal: false,
            ahead_ms: 0,
            lag: Duration::ZERO,
        }
    }
}
