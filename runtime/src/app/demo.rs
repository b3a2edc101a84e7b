//! The exchange inside `run --demo`: three symbols of a seeded market on loopback.

use std::str::FromStr;

use anyhow::Context;
use bybit_sim::{Market, Sim, SimConfig};
use klines_config::Config;
use url::Url;

/// The same market every time.
const SEED: u64 = 1;

/// Starts the exchange and points the configuration at it. It runs as long as it is kept.
///
/// # Errors
/// When it cannot listen on loopback.
pub async fn start(config: &mut Config) -> anyhow::Result<Sim> {
    let sim = Sim::start(SimConfig::new(Market::demo(SEED))).await.context("starting the demonstration's exchange")?;
    config.exchange.ws_url = Some(Url::from_str(&sim.ws_url())?);
    config.exchange.rest_url = Some(Url::from_str(&sim.rest_url())?);
    Ok(sim)
}
