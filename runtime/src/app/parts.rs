//! From configuration to consumers: components found, compiled and checked, each with its limits and grants.

mod native;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::output;
use crate::config::consumers::{Component as Source, Consumer, Limits as ConfiguredLimits, OnError as Configured};
use crate::config::exchange::Symbols;
use crate::config::native::Native;
use crate::config::{Config, Finding, Report};
use crate::consumer::catalog::Catalog;
use crate::consumer::hub::Hub;
use crate::consumer::manager::{Manager, Spec, Summary};
use crate::consumer::policy::OnError;
use crate::consumer::queue::Grouping;
use crate::consumer::wasm::component::Components;
use crate::consumer::wasm::engine::WasmEngine;
use crate::consumer::wasm::grants::{DirGrant, Grants};
use crate::consumer::wasm::limits::Limits;
use crate::consumer::wasm::terminal::StandardOutput;
use crate::consumer::wasm::{Setup, WasmBlueprint};
use crate::consumer::{Blueprint, Subscription, shipped};
use crate::domain::symbol::Category;

/// Klines handed to a component in one call: enough to make the call's own cost small, few enough to be quick.
const BATCH: usize = 64;
/// What the start of all consumers may take beyond each one's own limit, to name those that do not come up.
const START_MARGIN: Duration = Duration::from_secs(2);

/// Prepares every enabled consumer and lets it check its settings. Opens nothing and starts nothing.
///
/// # Errors
/// [`Report`] with every problem of every consumer; the inner error when this machine cannot run components at all.
pub fn prepare(config: &Config, catalog: &Arc<Catalog>) -> anyhow::Result<Result<Vec<Spec>, Report>> {
    let components = Components::new(WasmEngine::new().context("starting the WebAssembly engine")?);
    let (mut specs, mut report) = (Vec::new(), Report::default());
    for consumer in &config.consumers {
        let component = match &consumer.component {
            Source::Shipped(name) => {
                let bytes = shipped::shipped(name.as_str()).unwrap_or_default();
                components.from_bytes(bytes, consumer.limits.component_size)
            }
            Source::File(path) => components.from_file(path, consumer.limits.component_size),
            Source::Native(native) => {
                if let Some((mut blueprint, grouping)) = native::blueprint(*native, consumer, config, catalog)? {
                    report.merge(native::problems(*native, config, &blueprint.validate()));
                    specs.push(spec(consumer, blueprint, grouping));
                }
                continue;
            }
        };
        match component {
            Ok(component) => {
                let mut blueprint = WasmBlueprint::new(component, setup(consumer));
                let problems = blueprint.validate();
                report.merge(config.settings_report(
                    &consumer.name,
                    problems.iter().map(|problem| Finding {
                        path: &problem.path,
                        message: &problem.message,
                        expected: &problem.expected,
                    }),
                ));
                specs.push(spec(consumer, Box::new(blueprint), Grouping::UpTo(BATCH)));
            }
            Err(error) => {
                let expected = "a component built for klines:consumer@1.0.0";
                report.merge(config.component_report(&consumer.name, &error.to_string(), expected));
            }
        }
    }
    Ok(if report.is_refusal() { Err(report) } else { Ok(specs) })
}

/// What is watched, as far as the configuration says it; the exchange is asked for the rest.
#[must_use]
pub fn catalog(config: &Config) -> Arc<Catalog> {
    let listed = |category: &Category| match &config.exchange.symbols {
        Symbols::Listed(listed) => {
            let own = listed.iter().filter(|listing| listing.category == *category);
            (*category, own.map(|listing| listing.symbol.clone()).collect())
        }
        Symbols::All(_) => (*category, Vec::new()),
    };
    let serves = config.consumers.iter().any(|consumer| consumer.component == Source::Native(Native::WebSocket));
    Arc::new(Catalog::new(config.exchange.categories.iter().map(listed), serves))
}

/// Starts the consumers and waits until each has come up or said why not. The failure of one is logged; the others
/// go on.
///
/// # Errors
/// When the operating system gives no threads, or no consumer at all came up.
pub fn start(specs: Vec<Spec>, config: &Config, hub: &Hub) -> anyhow::Result<Manager> {
    let patience = config.consumers.iter().map(|consumer| consumer.limits.start_up).max().unwrap_or_default();
    let wanted = specs.len();
    let manager = Manager::start(specs, hub, &config.data_dir).context("starting the consumers")?;
    let reports = manager.started(patience * 3 + START_MARGIN);
    let failed: Vec<String> = reports
        .iter()
        .filter_map(|report| match &report.result {
            Err(crate::consumer::Failure::Fatal(reason)) => Some(format!("{}: {reason}", report.name)),
            _ => None,
        })
        .collect();
    if failed.len() == wanted {
        drop(manager.shutdown(Duration::ZERO));
        anyhow::bail!("no consumer could be started: {}", failed.join("; "));
    }
    Ok(manager)
}

/// Says what each consumer was given.
pub fn tell(summaries: &[Summary]) {
    for Summary { name, stats } in summaries {
        let counts = [
            (stats.lost, "lost"),
            (stats.left, "not delivered"),
            (stats.set_aside, "set aside"),
            (stats.retries, "retries"),
            (stats.crashes(), "crashes"),
            (stats.restarts, "restarts"),
        ];
        let mut text = format!("{name}: {} klines delivered", stats.delivered);
        for (count, what) in counts.iter().filter(|(count, _)| *count > 0) {
            text.push_str(&format!(", {count} {what}"));
        }
        output::say(&format!("{text} ({})", stats.state));
    }
}

fn setup(consumer: &Consumer) -> Setup {
    let directory = |allowed: &crate::config::consumers::Directory| DirGrant {
        host: allowed.host.clone(),
        guest: allowed.guest.clone(),
        write: allowed.write,
    };
    Setup {
        name: consumer.name.clone(),
        settings: consumer.settings.to_string(),
        limits: limits(&consumer.limits),
        grants: Grants { stdout: consumer.allow.stdout, dirs: consumer.allow.dirs.iter().map(directory).collect() },
        terminal: Arc::new(StandardOutput),
    }
}

fn limits(configured: &ConfiguredLimits) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Limits {
        memory: size(configured.memory),
        call: configured.call,
        start_up: configured.start_up,
        component: configured.component_size,
        hostcall: size(configured.hostcall_fuel),
        handles: count(configured.handles),
        table_elements: count(configured.table_elements),
        instances: count(configured.instances),
        random: configured.random,
        output: size(configured.output),
        compile_time: configured.compile_time,
        compile_memory: configured.compile_memory,
        state: size(configured.state),
        http_requests: count(configured.http_requests),
        http_body: size(configured.http_body),
        http_time: configured.http_time,
        recycle_calls: configured.recycle_calls,
        recycle_memory: configured.recycle_memory.map(size),
        log_lines: configured.log_lines,
        log_line: size(configured.log_line),
    }
}

fn spec(consumer: &Consumer, blueprint: Box<dyn Blueprint>, grouping: Grouping) -> Spec {
    Spec {
        name: consumer.name.clone(),
        blueprint,
        allowed: Subscription {
            symbols: consumer.symbols.clone(),
            intervals: consumer.intervals.clone(),
            closed_only: consumer.closed_only,
        },
        queue: usize::try_from(consumer.limits.queue).unwrap_or(usize::MAX),
        grouping,
        on_error: match consumer.on_error {
            Configured::Restart => OnError::Restart,
            Configured::Skip => OnError::Skip,
            Configured::Stop => OnError::Stop,
        },
    }
}
