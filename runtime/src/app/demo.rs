//! The embedded exchange of `run --demo`: three symbols of a generated market on loopback.

use std::str::FromStr;

use anyhow::Context;
use bybit_sim::{Market, Sim, SimConfig};
use klines_config::Config;
use url::Url;

/// The seed of the market; it is constant, so that the market is the same every time.
const SEED: u64 = 1;

/// Starts the exchange and sets its addresses in `config`. The exchange runs until the returned value is dropped.
///
/// # Errors
/// When it cannot listen on loopback.
pub async fn start(config: &mut Config) -> anyhow::Result<Sim> {
    let sim = Sim::start(SimConfig::new(Market::demo(SEED))).await.context("starting the demo exchange")?;
    config.exchange.ws_url = Some(Url::from_str(&sim.ws_url())?);
    config.exchange.rest_url = Some(Url::from_str(&sim.rest_url())?);
    Ok(sim)
}
