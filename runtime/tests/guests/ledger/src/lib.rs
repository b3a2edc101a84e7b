//! A consumer that records every confirmed kline in its state: which ones, how many, and whether one came twice or is
//! missing. Tests that state and deliveries agree; its settings can make it fail and publish series.

use std::collections::BTreeMap;

use klines_guest::{Batch, Consumer, Failure, Kline, Subscription, emit, info, state};
use serde::Deserialize;

/// When to fail, counted in batches of this instance; 0 is never.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Traps every `trap_every` batches, after everything is written.
    trap_every: u64,
    /// Asks for the batch again every `retry_every` batches, after everything is written.
    retry_every: u64,
    /// The number of bytes that are leaked at each batch.
    leak: usize,
    /// Fails in `setup`.
    refuse: bool,
    /// Publishes the middle of the prices of every kline, including open ones, and a signal for closed ones.
    emit: bool,
    /// Not used: a secret that must not be shown anywhere.
    api_key: String,
}

struct Ledger {
    settings: Settings,
    batches: u64,
    leaked: Vec<Vec<u8>>,
}

impl Consumer for Ledger {
    type Settings = Settings;

    fn setup(settings: Settings) -> Result<Self, Failure> {
        if settings.refuse {
            return Err(Failure::fatal("refuses to be set up"));
        }
        add("lives", 1)?;
        Ok(Self { settings, batches: 0, leaked: Vec::new() })
    }

    fn subscription(&self) -> Subscription {
        if self.settings.emit { Subscription::all() } else { Subscription::closed() }
    }

    fn consume(&mut self, batch: &Batch) -> Result<(), Failure> {
        self.batches += 1;
        self.leaked.push(vec![1; self.settings.leak]);
        add("lost", batch.lost)?;
        for (row, kline) in batch.klines.iter().enumerate() {
            if kline.confirm {
                record(kline)?;
            }
            if self.settings.emit {
                publish(row, kline).map_err(Failure::fatal)?;
            }
        }
        let due = |every: u64| every > 0 && self.batches.is_multiple_of(every);
        if due(self.settings.trap_every) {
            trap();
        }
        if due(self.settings.retry_every) {
            return Err(Failure::retry("not yet"));
        }
        Ok(())
    }

    fn stop(&mut self) {
        let [count, doubles, holes, lost] = ["count", "doubles", "holes", "lost"].map(number);
        info!("count {count} doubles {doubles} holes {holes} lost {lost}");
    }
}

fn publish(row: usize, kline: &Kline) -> Result<(), String> {
    emit::number(row, "middle", f64::midpoint(kline.high, kline.low))?;
    if kline.confirm {
        let side = if kline.close >= kline.open { "buy" } else { "sell" };
        emit::json(row, "signal", &BTreeMap::from([("side", side), ("text", "<b>signal</b>")]))?;
    }
    Ok(())
}

/// Records a kline under a unique key, so that a repeat is detected.
fn record(kline: &Kline) -> Result<(), Failure> {
    let series = format!("{:?}/{}/{}", kline.category, kline.symbol, kline.interval);
    let key = format!("kline/{series}/{}/{}", kline.start, kline.revision);
    if state::get(&key).is_some() {
        add("doubles", 1)?;
    }
    set(&key, "")?;
    let before = format!("sequence/{series}");
    let last = number(&before);
    // Each run of the program counts from the start again.
    if last > 0 && kline.sequence > last + 1 {
        add("holes", kline.sequence - last - 1)?;
    }
    set(&before, &kline.sequence.to_string())?;
    add("count", 1)
}

fn number(key: &str) -> u64 {
    state::get_text(key).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn add(key: &str, more: u64) -> Result<(), Failure> {
    set(key, &(number(key) + more).to_string())
}

fn set(key: &str, value: &str) -> Result<(), Failure> {
    state::set(key, value).map_err(Failure::fatal)
}

fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

klines_guest::export!(Ledger);
