//! The store of a run: its recorder, and what reads it beside the run.

use std::sync::Arc;

use klines_config::Config;
use klines_delivery::history::History;
use klines_delivery::hub::Hub;
use klines_store::file;
use klines_store::reader::Reader;
use klines_store::recorder::Recorder;
use klines_store::writer::Limits;
use tracing::{error, info};
use url::Host;

/// The part of `data_dir_max` that the store may take, in fifths: the rest is for what consumers keep.
const FIFTHS: u64 = 4;

/// Begins to store what a hub publishes; `None` if nothing is to be stored, or the store cannot be used: then the run goes on
/// without it.
pub fn record(config: &Config, hub: &Hub) -> Option<Recorder> {
    if !config.store.enabled {
        return None;
    }
    let path = file::path_in(&config.data_dir);
    let retain = config.store.retain.clone();
    let max_bytes = config.store.max_size.min(config.data_dir_max / 5 * FIFTHS);
    let limits = Limits { retain: Box::new(move |interval| retain.of(interval)), max_bytes };
    match Recorder::start(&path, origin(config), limits, hub) {
        Ok(recorder) => {
            info!(file = %path.display(), max_bytes, "storing klines");
            Some(recorder)
        }
        Err(error) => {
            error!(%error, "klines are not stored in this run");
            None
        }
    }
}

/// Returns what reads the store of a run; `None` if nothing is stored.
pub fn history(config: &Config) -> Option<Arc<dyn History>> {
    let reader = || Arc::new(Reader::of(&file::path_in(&config.data_dir), origin(config))) as Arc<dyn History>;
    config.store.enabled.then(reader)
}

/// Returns what kind of klines a run makes: an exchange on this machine is a simulator.
fn origin(config: &Config) -> &'static str {
    let host = config.exchange.ws_url.as_ref().and_then(|url| url.host());
    let is_local = host.is_some_and(|host| match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    });
    match (is_local, config.exchange.testnet) {
        (true, _) => "simulated",
        (false, true) => "testnet",
        (false, false) => "live",
    }
}
