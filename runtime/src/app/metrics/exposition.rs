//! The page of `/metrics` in the OpenMetrics text format. Every label value is a category, a name from the
//! configuration or a constant of this program: no guest and no client can choose one.

mod cluster;
mod consumers;
mod family;
mod ingest;
mod repairs;
mod store;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use self::family::{Exposition, Unit};
use super::process;
use crate::app::observed::Observed;

/// Renders the current values of all metrics.
pub(super) fn page(observed: &Arc<Observed>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(RunCollector(observed.clone())));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct RunCollector(Arc<Observed>);

impl Collector for RunCollector {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut exposition = Exposition::new(encoder);
        ingest::write(&mut exposition, &self.0)?;
        consumers::write(&mut exposition, &self.0.consumers.read(), self.0.clock.now().get())?;
        if let Some(observer) = &self.0.store {
            store::write(&mut exposition, observer.counters())?;
        }
        let (node, counters) = (self.0.cluster.node(), self.0.cluster.counters());
        // A node that reads does not write.
        node.iter().try_for_each(|node| cluster::node(&mut exposition, node, counters.is_none()))?;
        counters.iter().try_for_each(|counters| cluster::reader(&mut exposition, counters))?;
        self.0.cluster.roster().iter().try_for_each(|roster| cluster::groups(&mut exposition, roster))?;
        process_metrics(&mut exposition, &self.0)
    }
}

fn process_metrics(exposition: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
    exposition.info(
        "klines_build",
        "Version of the running klines program.",
        [[("version", env!("CARGO_PKG_VERSION"))]],
    )?;
    let bare: [(&str, &str); 0] = [];
    if let Some(bytes) = process::resident_memory() {
        exposition.gauges("process_resident_memory", "Resident memory size in bytes.", Unit::Bytes, [(bare, bytes)])?;
    }
    exposition.gauges(
        "klines_data_dir",
        "Size of the files in data_dir in bytes.",
        Unit::Bytes,
        [(bare, observed.data_dir.bytes())],
    )?;
    exposition.gauges(
        "klines_data_dir_limit",
        "Maximum size of the files in data_dir in bytes (data_dir_max).",
        Unit::Bytes,
        [(bare, observed.data_dir.most())],
    )?;
    let refused = [(bare, observed.data_dir.refused())];
    exposition.counters(
        "klines_data_dir_refused_writes",
        "Total number of writes refused because data_dir was full.",
        refused,
    )?;
    exposition.seconds_total(
        "process_cpu",
        "Total user and system CPU time of all threads in seconds.",
        [(bare, process::cpu_seconds())],
    )?;
    let started = seconds(observed.since.get().unsigned_abs());
    exposition.gauges(
        "process_start_time",
        "Start time of the run in seconds since the Unix epoch.",
        Unit::Seconds,
        [(bare, started)],
    )
}

/// Converts milliseconds to seconds.
#[expect(clippy::cast_precision_loss, reason = "a metric needs no more precision")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1_000.0
}
