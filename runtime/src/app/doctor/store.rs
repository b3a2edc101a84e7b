//! Checks that the store, if there is one, can be read.

use std::fs;
use std::io::ErrorKind;

use klines_config::Config;
use klines_domain::count::counted;
use klines_store::check::info;
use klines_store::error::{READERS, REFILL, REMEDY, StoreError};
use klines_store::file;

use super::finding::Finding;

const NAME: &str = "store";

pub(super) fn check(config: &Config) -> Finding {
    let path = file::path_in(&config.data_dir);
    let shown = path.display();
    if fs::metadata(&path).is_err_and(|error| error.kind() != ErrorKind::PermissionDenied) {
        let which = if config.store.enabled { "the first run creates it" } else { "it is off" };
        return Finding::ok(NAME, format!("there is no store in {shown}: {which}"));
    }
    match info(&path) {
        Ok(found) => {
            let blocks: u64 = found.intervals.iter().map(|interval| interval.klines).sum();
            Finding::ok(NAME, format!("{shown} can be read: {}", counted(blocks + found.in_log, "kline")))
        }
        Err(error) => problem(&shown.to_string(), &error),
    }
}

/// Says what is wrong with a store that cannot be read, and what to do in this case.
fn problem(shown: &str, error: &StoreError) -> Finding {
    match error {
        StoreError::Damaged { what, .. } => {
            let fix = format!("`klines store verify` lists all damage; {REMEDY}");
            Finding::problem(NAME, format!("{shown} is damaged: {what}"), fix)
        }
        StoreError::Empty(_) => Finding::problem(NAME, format!("{shown} is empty"), REFILL),
        StoreError::Newer { found, known, .. } => {
            let text = format!(
                "{shown} was written by a newer version of klines: schema {found}, this one reads up to {known}"
            );
            let fix = "use that version or a later one, or another data_dir; the file stays as it is, and live klines do not need it";
            Finding::problem(NAME, text, fix)
        }
        StoreError::Unreadable { message, .. } | StoreError::ReadOnly { message, .. } => {
            Finding::problem(NAME, format!("{shown} cannot be read: {message}"), READERS)
        }
        StoreError::Foreign(_) => {
            let fix = format!("if it was one, its first page is damaged: {REMEDY}");
            Finding::problem(NAME, format!("{shown} is not a store of klines"), fix)
        }
        other => Finding::problem(
            NAME,
            other.to_string(),
            "look at its folder and at its disk; docs/store.md has the messages",
        ),
    }
}
