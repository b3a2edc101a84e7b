//! The embedded exchange of `run --demo`: three symbols of a generated market on loopback.

use std::str::FromStr;

use anyhow::Context;
use bybit_sim::{Market, Sim, SimConfig};
use klines_config::Config;
use klines_config::consumers::{Component, Consumer};
use klines_config::native::Native;
use klines_config::proxy::Proxy;
use tracing::warn;
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
    // The exchange is on loopback, where no proxy leads.
    config.proxy = Proxy::default();
    // What the demo made up must not wait on disk for the next run, which could be a live one.
    config.redis.spill = 0;
    warn_of_outlets(config, "the demo's klines are generated, and this consumer passes them on");
    Ok(sim)
}

/// Warns of consumers that pass klines on to other systems, where they could be taken for live ones.
pub fn warn_of_outlets(config: &Config, warning: &'static str) {
    let passes_on = |consumer: &&Consumer| {
        consumer.component == Component::Native(Native::Redis) || !consumer.allow.http.is_empty()
    };
    for consumer in config.consumers.iter().filter(passes_on) {
        warn!(consumer = consumer.name, "{warning}");
    }
}
