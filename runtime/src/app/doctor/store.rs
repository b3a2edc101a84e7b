//! Checks that the store, if there is one, can be read.

use klines_config::Config;
use klines_domain::count::counted;
use klines_store::check::info;
use klines_store::error::REMEDY;
use klines_store::file;

use super::finding::Finding;

pub(super) fn check(config: &Config) -> Finding {
    let (name, path) = ("store", file::path_in(&config.data_dir));
    let shown = path.display();
    if !path.exists() {
        let which = if config.store.enabled { "the first run creates it" } else { "it is off" };
        return Finding::ok(name, format!("there is no store in {shown}: {which}"));
    }
    match info(&path) {
        Ok(found) => {
            let blocks: u64 = found.intervals.iter().map(|interval| interval.klines).sum();
            Finding::ok(name, format!("{shown} can be read: {}", counted(blocks + found.in_log, "kline")))
        }
        Err(error) => Finding::problem(name, format!("{shown} cannot be read: {error}"), REMEDY),
    }
}
