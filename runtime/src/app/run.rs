//! `klines run`: exchange → pipeline → consumers, from the first connection to the last delivery.
//!
//! Every error of the configuration is reported before any connection is opened. The run ends in the direction of the
//! data flow: feeds stop, the pipeline emits its open klines, consumers finish their queues, and a summary of each is
//! printed.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use klines_bybit::instruments::Pace;
use klines_config::Config;
use klines_config::cluster::Role;
use klines_config::quantity::HumanDuration;
use klines_delivery::hub::Hub;
use klines_delivery::manager::Manager;
use klines_delivery::stats::State;
use klines_delivery::tap::Taps;
use klines_domain::series::SeriesKey;
use klines_pipeline::{CategoryTally, Pipeline};
use klines_store::recorder::Recorder;
use klines_store::run::EarlierSymbols;
use klines_system::clock::LocalClock;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::cluster::Part;
use super::ending::{Hangup, wait_for_end};
use super::exchange::{self, Choices, ExchangeHandle};
use super::locks::Trust;
use super::observed::Observed;
use super::reconfigure::{self, Consumers, Intervals, Reconfigurer, Symbols, has_terminal};
use super::recording::Begun;
use super::refusal::Refused;
use super::reload::Reloader;
use super::{admin, demo, feeds, metrics, output, past, recording, seeding, service, wiring};
use crate::cli::RunArgs;

/// How long consumers may take to finish at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the run checks whether all consumers have ended.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long the feeds may take to close their connections.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs until a signal, or for the duration of `--for`.
///
/// # Errors
/// When something cannot be started.
pub fn run(mut config: Config, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let part = part_in_cluster(&mut config, args.demo)?;
    let catalog = wiring::catalog(&config);
    let components = wiring::compiling::kept(&config, wiring::compiling::log_notice)?;
    let (past, taps) = (past::of_run(&config), Taps::default());
    let (epochs, hub) = (part.epochs(), Arc::new(Hub::new().with_taps(taps.clone())));
    let groups = part.groups(&config, &catalog, &hub);
    let reads = wiring::Reads::of(&past).in_run(&taps, epochs.as_ref(), groups.as_ref());
    let prepared = wiring::prepare(&config, &catalog, &components, wiring::Awaited::Trusted, reads)?;
    let wiring::Prepared { mut specs, files, relay, publishers, data_dir, earlier, mut warnings } =
        prepared.map_err(Refused)?;
    specs.extend(part.spec());
    warnings.merge(exchange::warnings(&config));
    output::report(&warnings);
    components.remove_unused_code();
    data_dir.look();
    // An error of the port must be reported before anything runs.
    let port = metrics::bind(&config.metrics)?;
    // One worker: a frame goes from its socket through the pipeline without a thread switch, and one core handles far
    // more than any exchange sends. Consumers have their own threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Declared before its users, so that it is dropped after them.
    let exchange = if args.demo { Some(runtime.block_on(demo::start(&mut config))?) } else { None };
    // Before the consumers, so that there is a store when the WebSocket server begins to serve.
    let Begun { observer, recorder, missed, symbols, last } =
        recording::begin(&config, &hub, &earlier, runtime.handle());
    let awaited = wiring::Awaited::Trusted;
    let manager = Arc::new(wiring::start_after(missed, specs, relay, &config, &hub, &data_dir, awaited)?);
    let reloader = Reloader::new(components.clone(), files, &manager, Trust::of(&config));
    let watch = reloader.watch()?;
    let observed = Observed::new(&config, manager.views(), hub, LocalClock::start(), catalog, data_dir);
    let observed =
        Arc::new(observed.with_store(observer, past).in_cluster(part.sight(), !matches!(*part, Part::Serve(_))));
    let consumers = Consumers::new(&config, &observed, (&manager, &components, &reloader, publishers), groups);
    let (choices, reconfigurer) = reconfigurer(args, &config, consumers);
    let config_watch = reconfigurer.watch()?;
    let controls = controls(&manager, &observed, reloader, &reconfigurer);
    let mut servers = spawn_servers(port, &config, controls, runtime.handle());
    log_start(&config);
    service::started();
    let served = runtime.block_on(async {
        tokio::select! { biased;
            served = serve(&config, args.duration, (&observed, &part), (&choices, symbols, last)) => served,
            end = all_consumers_ended(&manager) => end,
            () = reconfigurer.reload_at_hangup() => Ok(()),
        }
    });
    drop((watch, config_watch));
    observed.end();
    service::ending();
    // Waits for the consumers without blocking the executor, so that the servers still answer.
    let ended = runtime.block_on(finish(manager, recorder, part));
    runtime.block_on(servers.shutdown());
    components.remove_temporary();
    if let Some(exchange) = exchange {
        runtime.block_on(exchange.stop());
    }
    served?;
    Ok(ended)
}

/// Returns what this process does in a cluster, and adapts the configuration to it.
fn part_in_cluster(config: &mut Config, is_demo: bool) -> anyhow::Result<Arc<Part>> {
    if is_demo {
        // Its klines are not mixed with stored ones, or with those of a cluster.
        (config.store.enabled, config.cluster.role) = (false, Role::All);
    }
    config.adapt_to_role();
    Ok(Arc::new(Part::new(config)?))
}

/// Returns the choices of the configuration that can change, and what changes them.
fn reconfigurer(args: &RunArgs, config: &Config, consumers: Consumers) -> (Choices, Reconfigurer) {
    let choices = Choices::new(exchange::wanted(config), &config.klines.intervals);
    let mut parts: Vec<Box<dyn reconfigure::Part>> = Vec::new();
    // A serve node hands on what the streams bring.
    if config.cluster.role != Role::Serve {
        parts.push(Box::new(Symbols(choices.clone())));
        parts.push(Box::new(Intervals(choices.clone())));
    }
    parts.push(Box::new(consumers));
    let reconfigurer = Reconfigurer::new(args, config, parts);
    (choices, reconfigurer)
}

/// Starts the servers, which run until the run has ended.
fn spawn_servers(
    port: Option<metrics::Server>,
    config: &Config,
    controls: admin::Controls,
    runtime: &Handle,
) -> JoinSet<io::Result<()>> {
    let mut servers = JoinSet::new();
    if let Some(port) = port {
        servers.spawn_on(port.serve(controls.observed.clone()), runtime);
    }
    if let Some(socket) = admin::open(&config.data_dir) {
        servers.spawn_on(socket.serve(controls), runtime);
    }
    servers
}

fn log_start(config: &Config) {
    let intervals: Vec<String> = config.klines.intervals.iter().map(ToString::to_string).collect();
    info!(
        role = config.cluster.role.as_str(),
        symbols = exchange::describe(config),
        intervals = intervals.join(","),
        "running"
    );
}

/// Returns what the admin socket can query and control.
fn controls(
    manager: &Arc<Manager>,
    observed: &Arc<Observed>,
    reloader: Reloader,
    reconfigurer: &Reconfigurer,
) -> admin::Controls {
    admin::Controls {
        observed: observed.clone(),
        manager: manager.clone(),
        reloader,
        reconfigurer: reconfigurer.clone(),
    }
}

/// Feeds the hub until the run ends; afterwards no more klines are published.
pub(super) async fn serve(
    config: &Config,
    duration: Option<HumanDuration>,
    (observed, part): (&Observed, &Part),
    (choices, earlier, last): (&Choices, EarlierSymbols, BTreeMap<SeriesKey, u64>),
) -> anyhow::Result<()> {
    let feeding = async {
        match part {
            Part::Serve(node) => node.follow(config, duration, observed, last).await,
            _ => feed(config, duration, (observed, part), (choices, earlier)).await,
        }
    };
    tokio::select! { biased;
        end = feeding => end,
        never = feeds::report(observed, config.metrics.stale_after) => match never {},
        never = seeding::report(observed) => match never {},
        never = part.report(config, observed) => match never {},
    }
}

async fn feed(
    config: &Config,
    duration: Option<HumanDuration>,
    (observed, part): (&Observed, &Part),
    (choices, earlier): (&Choices, EarlierSymbols),
) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let consumers = observed.consumers.clone();
    let share = part.join()?;
    let ExchangeHandle { inbox, categories, answers, tracker } =
        exchange::open(config, observed, (choices, &share, earlier), Pace::default(), &cancel)?;
    let pipeline = Pipeline::new(categories, answers, observed.clock, observed.hub.clone(), observed.tallies.clone());
    let pipeline = tokio::spawn(pipeline.run(inbox));
    let before_exit = move || {
        // The exit code after a second signal is fixed, so the returned one is ignored.
        let _ = wiring::print_summaries(&wiring::give_up(&consumers.views()));
    };
    // Without a terminal, it reloads the configuration.
    let hangup = if has_terminal() { Hangup::Ends } else { Hangup::IsHandled };
    let reason = wait_for_end(duration, hangup, before_exit).await;
    observed.end();
    part.leave().await;
    let feeds = observed.feeds.read();
    let was_reached = feeds.iter().any(|feed| feed.connections().is_empty() || feed.counters().opened > 0);
    // The feeds close the inbox, so that the pipeline processes the remaining messages and ends.
    cancel.cancel();
    if tokio::time::timeout(CLOSE_TIMEOUT, tracker.wait()).await.is_err() {
        warn!("a connection did not close in time and is abandoned");
    }
    pipeline.await.context("the pipeline failed")?;
    for feed in &feeds {
        let counters = feed.counters();
        info!(
            category = %feed.category(),
            opened = counters.opened,
            gaps = counters.gaps,
            frames = counters.frames,
            trade_frames = counters.trade_frames,
            answers = counters.answers,
            unknown_topics = counters.unknown_topics,
            unreadable = counters.unreadable,
            ignored = counters.ignored,
            "feed ended"
        );
    }
    for CategoryTally { category, tally, .. } in observed.tallies.read() {
        info!(
            %category,
            received = tally.received,
            counted = tally.counted,
            duplicate = tally.duplicate,
            late = tally.late,
            rejected = tally.rejected,
            excluded = tally.excluded,
            superseded = tally.superseded,
            "trades accounted for"
        );
    }
    if was_reached { reason.map(drop) } else { reason?.without_exchange() }
}

/// Waits until every consumer has failed, is quarantined or has finished.
///
/// # Errors
/// When one of them has not just finished.
pub(super) async fn all_consumers_ended(manager: &Manager) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let states: Vec<State> = manager.summaries().iter().map(|summary| summary.stats.state).collect();
        // While the only one is replaced, there is none.
        if states.is_empty() {
            continue;
        }
        if states.iter().all(|state| *state == State::Finished) {
            return Ok(());
        }
        if states.iter().all(|state| matches!(state, State::Failed | State::Quarantined | State::Finished)) {
            anyhow::bail!("no consumer is left to receive klines");
        }
    }
}

/// Waits for the consumers, the cluster and the store to finish, and prints a summary of each consumer.
async fn finish(manager: Arc<Manager>, recorder: Option<Recorder>, part: Arc<Part>) -> ExitCode {
    let shut_down = move || {
        let summaries = manager.shutdown(DRAIN);
        part.end();
        recorder.into_iter().for_each(|recorder| recorder.end(DRAIN));
        summaries
    };
    let summaries = tokio::task::spawn_blocking(shut_down).await.unwrap_or_default();
    wiring::print_summaries(&summaries)
}
