//! Creates the consumers of the configuration: loads, compiles and validates components, each with its limits and
//! grants.

pub mod compiling;
pub mod grants;
mod native;
mod sandboxed;
mod validation;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use klines_config::consumers::{Component as Source, Consumer, OnError as Configured};
use klines_config::exchange::Symbols;
use klines_config::native::Native;
use klines_config::{Config, Finding, Report, Severity};
use klines_delivery::catalog::Catalog;
use klines_delivery::data_dir::DataDir;
use klines_delivery::earlier::EarlierSlot;
use klines_delivery::emit::ValueSink;
use klines_delivery::emit::relay::{Publishers, Relay};
use klines_delivery::epochs::Epochs;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec, Summary};
use klines_delivery::missed::Missed;
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_delivery::tap::Taps;
use klines_delivery::view::View;
use klines_delivery::{Blueprint, Problem, Subscription};
use klines_domain::count::counted;
use klines_domain::symbol::Category;
use klines_wasm::Past;
use klines_wasm::component_loader::Components;

pub use self::sandboxed::FromFile;
use self::sandboxed::Shared;
use self::validation::PendingValidation;
use super::cluster::groups::{Groups, grouped};
use super::locks::{LockState, NotAccepted, Trust};
use super::output;
use crate::cli::EXIT_FAILED;

/// Largest number of klines that a component receives in one call: enough to make the overhead of the call small, few
/// enough to keep the call short.
pub const BATCH: usize = 64;
/// Additional time for the start of all consumers beyond their own limits, so that those that do not start are reported
/// by name.
const START_MARGIN: Duration = Duration::from_secs(2);
/// How long a live feed waits for untrusted components to validate their settings.
const VALIDATION: Duration = Duration::from_millis(500);

/// Every enabled consumer, ready to be started, and the warnings about them.
pub struct Prepared {
    /// The consumers that the manager starts.
    pub specs: Vec<Spec>,
    /// The consumers whose component is a file, which may change while they run.
    pub files: Vec<FromFile>,
    /// The relay that carries values from the components to the native consumers, if both exist.
    pub relay: Option<Relay>,
    /// Creates the emitters of components that are added later; `None` without a relay.
    pub publishers: Option<Publishers>,
    /// The folder in which the run stores data.
    pub data_dir: DataDir,
    /// Where the WebSocket server finds what is known of earlier runs.
    pub earlier: EarlierSlot,
    /// Warnings; no errors.
    pub warnings: Report,
}

/// Consumers that are ready to be started, and the warnings about them.
pub struct Consumers {
    /// What the manager starts.
    pub specs: Vec<Spec>,
    /// Those whose component is a file, which may change while they run.
    pub files: Vec<FromFile>,
    /// Warnings; no errors.
    pub warnings: Report,
}

/// What else takes the values of components, and what these may read.
#[derive(Clone, Copy)]
pub struct Reads<'a> {
    /// Receives all values that components from files publish; only in a replay.
    pub values: Option<&'a Arc<dyn ValueSink>>,
    /// What components may read of the past.
    pub past: &'a Past,
    /// The taps of the run; `None` if nobody can open one.
    pub taps: Option<&'a Taps>,
    /// The epochs that the WebSocket server shares with others; `None` if it has its own.
    pub epochs: Option<&'a Arc<dyn Epochs>>,
    /// What lets them work for groups; `None` if each gets every kline.
    pub groups: Option<&'a Groups>,
}

impl<'a> Reads<'a> {
    /// Returns what consumers read that are in no run of several parts: the past alone.
    #[must_use]
    pub const fn of(past: &'a Past) -> Self {
        Self { values: None, past, taps: None, epochs: None, groups: None }
    }

    /// Adds what there is in a live run.
    #[must_use]
    pub const fn in_run(self, taps: &'a Taps, epochs: Option<&'a Arc<dyn Epochs>>, groups: Option<&'a Groups>) -> Self {
        Self { taps: Some(taps), epochs, groups, ..self }
    }
}

/// Prepares every enabled consumer and lets it validate its settings, all components at the same time. Components that
/// are not awaited have [`VALIDATION`] for this; one that does not answer in time validates its settings when it is
/// started. Opens no connection and starts no consumer.
///
/// # Errors
/// [`Report`] with every problem of every consumer; the outer error when this machine cannot run components at all.
pub fn prepare(
    config: &Config,
    catalog: &Arc<Catalog>,
    components: &Components,
    awaited: Awaited,
    Reads { values, past, taps, epochs, groups }: Reads<'_>,
) -> anyhow::Result<Result<Prepared, Report>> {
    let relay = relay(config, taps);
    let publishers = relay.as_ref().map(Relay::publishers);
    let data_dir = DataDir::new(&config.data_dir, config.data_dir_max);
    let earlier = EarlierSlot::default();
    let publishing = publishers.as_ref();
    let shared =
        Shared { publishers: publishing, values, past, data_dir: &data_dir, earlier: &earlier, epochs, groups };
    let prepared = prepare_consumers(config, catalog, components, awaited, shared)?;
    let all = |Consumers { specs, files, warnings }| Prepared {
        specs,
        files,
        relay,
        publishers,
        data_dir,
        earlier: earlier.clone(),
        warnings,
    };
    Ok(prepared.map(all))
}

/// Prepares the consumers of a configuration while others run, as [`prepare`] does. Awaits the validation of each.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_further(
    config: &Config,
    catalog: &Arc<Catalog>,
    components: &Components,
    (publishers, past, groups): (Option<&Publishers>, &Past, Option<&Groups>),
    data_dir: &DataDir,
) -> anyhow::Result<Result<Consumers, Report>> {
    let earlier = &EarlierSlot::default();
    let shared = Shared { publishers, values: None, past, data_dir, earlier, epochs: None, groups };
    prepare_consumers(config, catalog, components, Awaited::All, shared)
}

fn prepare_consumers(
    config: &Config,
    catalog: &Arc<Catalog>,
    components: &Components,
    awaited: Awaited,
    shared: Shared<'_>,
) -> anyhow::Result<Result<Consumers, Report>> {
    let (mut prepared, mut files, mut report) = (Vec::new(), Vec::new(), Report::default());
    let unpublished = Shared { publishers: None, values: None, ..shared };
    let locks = Trust::of(config).read();
    for consumer in &config.consumers {
        let group = shared.groups.and_then(|groups| groups.join(consumer));
        let component = match &consumer.component {
            Source::Native(native) => {
                if let Some((mut blueprint, grouping)) = native::blueprint(*native, consumer, config, catalog, shared)?
                {
                    report.merge(native::problems(*native, config, &blueprint.validate()));
                    report.merge(native::warnings(*native, config));
                    prepared.push(PreparedConsumer::Ready(spec(consumer, blueprint, grouping)));
                }
                continue;
            }
            Source::Shipped(shipped) => {
                sandboxed::shipped(*shipped, consumer, config, components, unpublished).map_err(NotAccepted::Component)
            }
            Source::File(path) => {
                sandboxed::from_file(path, consumer, config, (components, &locks), shared).map(|mut file| {
                    file.group = group.as_ref().map(Arc::downgrade);
                    report.merge(unlocked(config, &file));
                    let blueprint = file.blueprint.clone();
                    files.push(file);
                    blueprint
                })
            }
        };
        match component {
            Ok(blueprint) => {
                report.merge(grants::report(config, consumer, &blueprint));
                let pending = PendingValidation::new(consumer, blueprint, group);
                prepared.push(PreparedConsumer::Validating(Box::new(pending)));
            }
            Err(error) => {
                let (name, message) = (&consumer.name, error.to_string());
                report.merge(config.component_report(name, Severity::Error, &message, error.expected()));
            }
        }
    }
    let until = Instant::now() + VALIDATION;
    let mut validated = |pending: PendingValidation<'_>| {
        let (consumer, group) = (pending.consumer, pending.group.clone());
        let blueprint = pending.finish(config, (awaited, until), &mut report);
        grouped(spec(consumer, blueprint, Grouping::UpTo(BATCH)), group.as_ref())
    };
    let specs = prepared.into_iter().map(|consumer| match consumer {
        PreparedConsumer::Ready(spec) => spec,
        PreparedConsumer::Validating(pending) => validated(*pending),
    });
    let specs = specs.collect();
    Ok(if report.is_refusal() { Err(report) } else { Ok(Consumers { specs, files, warnings: report }) })
}

/// Warns of a component that is not locked although the configuration trusts publishers: its entry may have been lost.
fn unlocked(config: &Config, file: &FromFile) -> Report {
    if file.lock != LockState::Unlocked || config.trusted_keys.0.is_empty() {
        return Report::default();
    }
    let (name, lock) = (&file.candidate.name, config.lock_file.display());
    let message = format!("{lock} has no entry of it: whatever is in its file runs");
    let expected = format!("a consumer that `klines consumer upgrade {name} FILE` has locked, unless it is your own");
    config.component_report(name, Severity::Warning, &message, &expected)
}

/// A consumer of the configuration, ready or still validating its settings.
enum PreparedConsumer<'a> {
    Ready(Spec),
    Validating(Box<PendingValidation<'a>>),
}

/// Returns the consumers that may publish values: components in files. No shipped component publishes any.
fn publishers(config: &Config) -> Vec<Arc<str>> {
    let is_file = |consumer: &&Consumer| matches!(consumer.component, Source::File(_));
    config.consumers.iter().filter(is_file).map(|consumer| consumer.name.as_str().into()).collect()
}

fn relay(config: &Config, taps: Option<&Taps>) -> Option<Relay> {
    let publishers = publishers(config).len();
    // Every native consumer receives values.
    let has_receivers = config.consumers.iter().any(|consumer| matches!(consumer.component, Source::Native(_)));
    let relay = (publishers > 0 && (has_receivers || taps.is_some())).then(|| Relay::new(publishers))?;
    Some(relay.with_taps(taps.cloned().unwrap_or_default(), has_receivers))
}

fn settings_report(config: &Config, consumer: &Consumer, problems: &[Problem]) -> Report {
    let findings = problems.iter().map(|problem| Finding {
        path: &problem.path,
        message: &problem.message,
        expected: &problem.expected,
    });
    config.settings_report(&consumer.name, findings)
}

/// Returns a catalogue with the intervals and the symbols that the configuration lists; those of `load_all` are added once the exchange
/// has listed them.
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
    let catalog = Catalog::new(config.exchange.categories.iter().map(listed), serves);
    catalog.make(&config.klines.intervals);
    Arc::new(catalog)
}

/// The consumers whose answers [`prepare`] and [`start`] wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Every consumer.
    All,
    /// Trusted consumers only: a live feed does not wait for untrusted code in `validate`, `setup` and `start`.
    Trusted,
}

/// Starts the consumers and waits until each awaited one has started or failed. The failure of one is logged; the
/// others continue.
///
/// # Errors
/// When the operating system cannot start a thread, or every consumer failed.
pub fn start(
    specs: Vec<Spec>,
    relay: Option<Relay>,
    config: &Config,
    hub: &Hub,
    data_dir: &DataDir,
    awaited: Awaited,
) -> anyhow::Result<Manager> {
    start_after(BTreeMap::new(), specs, relay, config, hub, data_dir, awaited)
}

/// Does the same; some consumers first get the klines of earlier runs that they have missed.
///
/// # Errors
/// As [`start`].
pub fn start_after(
    missed: BTreeMap<String, Box<dyn Missed>>,
    specs: Vec<Spec>,
    relay: Option<Relay>,
    config: &Config,
    hub: &Hub,
    data_dir: &DataDir,
    awaited: Awaited,
) -> anyhow::Result<Manager> {
    let patience = config.consumers.iter().map(|consumer| consumer.limits.start_up).max().unwrap_or_default();
    let wanted = specs.len();
    let manager = Manager::start_after(missed, specs, hub, data_dir).context("starting the consumers")?;
    if let Some(relay) = relay {
        manager.carry(relay).context("starting the thread that carries values")?;
    }
    let patience = patience * 3 + START_MARGIN;
    let reports = match awaited {
        Awaited::All => manager.started(patience),
        Awaited::Trusted => manager.trusted_started(patience),
    };
    let failed: Vec<String> = reports
        .iter()
        .filter_map(|report| match &report.result {
            Err(klines_delivery::Failure::Fatal(reason)) => Some(format!("{}: {reason}", report.name)),
            _ => None,
        })
        .collect();
    if failed.len() == wanted {
        drop(manager.shutdown(Duration::ZERO));
        anyhow::bail!("no consumer could be started: {}", failed.join("; "));
    }
    Ok(manager)
}

/// Discards the klines that consumers still hold, because the process ends at once, and returns the summary of each.
pub fn give_up(views: &[View]) -> Vec<Summary> {
    views.iter().map(|view| Summary { name: view.name.clone(), stats: view.give_up() }).collect()
}

/// Prints how many klines each consumer received and lost. Returns the exit code of the run: closed klines that were
/// lost at its end are a failure.
pub fn print_summaries(summaries: &[Summary]) -> ExitCode {
    summaries.iter().for_each(|summary| output::eprint(&line(summary)));
    let lost: u64 = summaries.iter().map(|summary| summary.stats.lost_at_the_end()).sum();
    if lost == 0 {
        return ExitCode::SUCCESS;
    }
    let were = if lost == 1 { "was" } else { "were" };
    output::eprint(&format!("error: {} {were} lost at the end", counted(lost, "closed kline")));
    ExitCode::from(EXIT_FAILED)
}

fn line(Summary { name, stats }: &Summary) -> String {
    let mut text = format!("{name}: {} delivered", counted(stats.delivered, "kline"));
    if stats.lost() > 0 {
        let reasons = stats.losses.by_reason().filter(|(_, klines)| *klines > 0);
        let reasons: Vec<_> = reasons.map(|(reason, klines)| format!("{}: {klines}", reason.describe())).collect();
        text.push_str(&format!(", {} lost ({})", stats.lost(), reasons.join("; ")));
    }
    let klines = [(stats.on_disk, "kept on disk for the next run"), (stats.set_aside, "set aside")];
    for (count, what) in klines.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {count} {what}"));
    }
    let events = [(stats.retries, "retry"), (stats.crashes(), "crash"), (stats.restarts, "restart")];
    for (count, noun) in events.iter().filter(|(count, _)| *count > 0) {
        text.push_str(&format!(", {}", counted(*count, noun)));
    }
    format!("{text} ({})", stats.state)
}

/// Returns the klines that the operator allows a consumer to receive.
pub fn allowed(consumer: &Consumer) -> Subscription {
    Subscription {
        symbols: consumer.symbols.clone(),
        intervals: consumer.intervals.clone(),
        closed_only: consumer.closed_only,
    }
}

/// Returns the specification from which the manager starts a consumer.
pub fn spec(consumer: &Consumer, blueprint: Box<dyn Blueprint>, grouping: Grouping) -> Spec {
    Spec {
        name: consumer.name.clone(),
        blueprint,
        allowed: allowed(consumer),
        queue: consumer.limits.queue,
        grouping,
        on_error: match consumer.on_error {
            Configured::Restart => OnError::Restart,
            Configured::Skip => OnError::Skip,
            Configured::Stop => OnError::Stop,
        },
        hub: None,
    }
}
