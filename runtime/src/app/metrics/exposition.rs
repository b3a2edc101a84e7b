//! The page of `/metrics`, in the OpenMetrics text format. Every label value is a category, a name of the
//! configuration or a word of this program's: nothing that a guest or a client chooses.

mod consumers;
mod ingest;
mod sheet;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::sheet::{Sheet, Unit};
use super::process;
use crate::app::observed::Observed;

/// Writes all figures as they are now.
pub(super) fn page(observed: &Arc<Observed>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Run(observed.clone())));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Run(Arc<Observed>);

impl Collector for Run {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut sheet = Sheet::new(encoder);
        ingest::write(&mut sheet, &self.0)?;
        consumers::write(&mut sheet, &self.0.consumers, self.0.clock.now().get())?;
        program(&mut sheet, &self.0)
    }
}

fn program(sheet: &mut Sheet<'_>, observed: &Observed) -> fmt::Result {
    sheet.info("klines_build", "The program that runs.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
    let bare: [(&str, &str); 0] = [];
    if let Some(bytes) = process::resident_memory() {
        sheet.gauges("process_resident_memory", "Resident memory.", Unit::Bytes, [(bare, bytes)])?;
    }
    sheet.gauges("klines_data_dir", "What data_dir holds.", Unit::Bytes, [(bare, observed.data_dir.bytes())])?;
    sheet.gauges(
        "klines_data_dir_limit",
        "What it may hold (data_dir_max).",
        Unit::Bytes,
        [(bare, observed.data_dir.most())],
    )?;
    let refused = [(bare, observed.data_dir.refused())];
    sheet.counters("klines_data_dir_refusals", "Writes refused because data_dir was full.", refused)?;
    sheet.seconds_total("process_cpu", "Time that all threads together have computed.", process::cpu_seconds())?;
    let started = seconds(observed.since.get().unsigned_abs());
    sheet.gauges("process_start_time", "When the run began, since 1970 UTC.", Unit::Seconds, [(bare, started)])
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "seconds for a chart")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}
