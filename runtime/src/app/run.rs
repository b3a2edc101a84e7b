//! `klines run`: exchange → pipeline → consumers, from the first connection to the last delivery.
//!
//! Everything that can be refused is refused before anything is opened. The end follows the arrows: feeds stop, the
//! pipeline gives out what is open, consumers finish what waits for them, and what each was given is said.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use klines_config::Config;
use klines_config::quantity::HumanDuration;
use klines_delivery::hub::Hub;
use klines_delivery::manager::Manager;
use klines_delivery::stats::State;
use klines_delivery::view::View;
use klines_pipeline::Pipeline;
use klines_system::clock::LocalClock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::exchange::{self, Market};
use super::observed::Observed;
use super::reload::Reloader;
use super::{admin, demo, feeds, metrics, output, wiring};
use crate::cli::{EXIT_CONFIG, EXIT_FAILED, RunArgs};

/// How long consumers may take to finish at the end.
const DRAIN: Duration = Duration::from_secs(10);
/// How often the consumers are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the feeds may take to hang up.
const HANG_UP: Duration = Duration::from_secs(3);

/// Runs until a signal, or until `--for` is over.
///
/// # Errors
/// When something cannot be started.
pub fn run(mut config: Config, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let catalog = wiring::catalog(&config);
    let components = wiring::compiling::kept(&config)?;
    let prepared = match wiring::prepare(&config, &catalog, &components, wiring::Awaited::Trusted)? {
        Ok(prepared) => prepared,
        Err(report) => {
            output::report(&report);
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let wiring::Prepared { specs, files, relay, data_dir, warnings } = prepared;
    output::report(&warnings);
    data_dir.look();
    // A port that is taken is said before anything runs.
    let port = metrics::bind(&config.metrics)?;
    // One worker: a frame goes from its socket through the pipeline without a switch of threads, and there is far more
    // room on one core than any exchange fills. Consumers have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    // Dropped last: it ends with the runtime that it runs on.
    let exchange = if args.demo { Some(runtime.block_on(demo::start(&mut config))?) } else { None };
    let hub = Arc::new(Hub::new());
    let manager = wiring::start(specs, relay, &config, &hub, &data_dir, wiring::Awaited::Trusted)?;
    let reloader = Reloader::new(components.clone(), files, &manager);
    let watch = reloader.watch()?;
    let observed = Arc::new(Observed::new(&config, manager.views(), hub, LocalClock::start(), catalog, data_dir));
    // They answer until the run is over.
    let mut servers = JoinSet::new();
    if let Some(port) = port {
        servers.spawn_on(port.serve(observed.clone()), runtime.handle());
    }
    if let Some(socket) = admin::open(&config.data_dir) {
        servers.spawn_on(socket.serve(controls(&config, &manager, &observed, reloader)), runtime.handle());
    }
    info!(
        symbols = exchange::describe(&config),
        intervals = config.klines.intervals.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        "running"
    );
    let served = runtime.block_on(async {
        tokio::select! { biased;
            served = serve(&config, args.duration, &observed) => served,
            () = none_left(&manager) => Err(anyhow::anyhow!("no consumer is left to hand klines to")),
        }
    });
    drop(watch);
    observed.end();
    // Consumers are on threads of their own; the executor's stay free while they finish.
    let ended = runtime.block_on(finish(manager));
    runtime.block_on(servers.shutdown());
    components.remove_temporary();
    if let Some(exchange) = exchange {
        runtime.block_on(exchange.stop());
    }
    served?;
    Ok(ended)
}

/// What an operator can ask about and give orders to.
fn controls(config: &Config, manager: &Manager, observed: &Arc<Observed>, reloader: Reloader) -> admin::Controls {
    admin::Controls {
        observed: observed.clone(),
        commanders: config.consumers.iter().filter_map(|consumer| manager.commander(&consumer.name)).collect(),
        reloader,
    }
}

/// Feeds the hub until the end is asked for; then nothing more comes.
pub(super) async fn serve(config: &Config, duration: Option<HumanDuration>, observed: &Observed) -> anyhow::Result<()> {
    tokio::select! { biased;
        end = feed(config, duration, observed) => end,
        never = feeds::report(observed, config.metrics.stale_after) => match never {},
    }
}

async fn feed(config: &Config, duration: Option<HumanDuration>, observed: &Observed) -> anyhow::Result<()> {
    let cancel = CancellationToken::new();
    let views: Vec<View> = observed.consumers.iter().map(|seen| seen.view.clone()).collect();
    let Market { inbox, categories, tracker } = exchange::open(config, observed, &observed.catalog, &cancel)?;
    let pipeline = Pipeline::new(categories, observed.clock, observed.hub.clone(), observed.tallies.clone());
    let pipeline = tokio::spawn(pipeline.run(inbox));
    let last_words = move || {
        // The code of a second signal is what it is.
        let _ = wiring::print_summaries(&wiring::give_up(&views));
    };
    let end = ended(duration, last_words).await;
    observed.end();
    let feeds = observed.feeds.read();
    let was_reached = feeds.iter().any(|feed| feed.connections().is_empty() || feed.counters().opened > 0);
    // The feeds let go of the inbox, which lets the pipeline take what is in it and come to its end.
    cancel.cancel();
    if tokio::time::timeout(HANG_UP, tracker.wait()).await.is_err() {
        warn!("a connection does not hang up and is left behind");
    }
    pipeline.await.context("the pipeline ended badly")?;
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
    for (category, tally) in observed.tallies.read() {
        info!(
            %category,
            received = tally.received,
            counted = tally.counted,
            duplicate = tally.duplicate,
            late = tally.late,
            rejected = tally.rejected,
            excluded = tally.excluded,
            "trades accounted for"
        );
    }
    if was_reached { end.map(drop) } else { end?.without_exchange() }
}

/// Why a run comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Somebody asked for it.
    Signal,
    /// Its time is over.
    Time,
}

impl End {
    /// What the end means for a run that had no connection to the exchange. Whoever sends a signal has seen that.
    fn without_exchange(self) -> anyhow::Result<()> {
        match self {
            Self::Signal => Ok(()),
            Self::Time => Err(anyhow::anyhow!("the exchange was not reached in all that time")),
        }
    }
}

/// Waits until every consumer has come to an end before the run has.
pub(super) async fn none_left(manager: &Manager) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let summaries = manager.summaries();
        if summaries.iter().all(|summary| matches!(summary.stats.state, State::Failed | State::Quarantined)) {
            return;
        }
    }
}

/// Waits for a signal or the end of `duration`. After the first signal the next one ends the process at once, after
/// `last_words`.
///
/// # Errors
/// When signals cannot be waited for.
pub async fn ended(duration: Option<HumanDuration>, last_words: impl FnOnce() + Send + 'static) -> anyhow::Result<End> {
    let mut interrupt = signal(SignalKind::interrupt()).context("waiting for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("waiting for signals")?;
    let over = async {
        match duration {
            Some(HumanDuration(duration)) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        _ = interrupt.recv() => {
            info!(signal = "SIGINT", "ending; a second signal ends at once");
            End::Signal
        }
        _ = terminate.recv() => {
            info!(signal = "SIGTERM", "ending; a second signal ends at once");
            End::Signal
        }
        () = over => {
            info!("time is over, ending");
            End::Time
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        warn!("second signal: ending at once");
        last_words();
        end_at_once();
    });
    Ok(end)
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "a second signal means exactly this")]
fn end_at_once() -> ! {
    std::process::exit(i32::from(EXIT_FAILED))
}

/// Lets the consumers finish and says what each was given.
async fn finish(manager: Manager) -> ExitCode {
    let summaries = tokio::task::spawn_blocking(move || manager.shutdown(DRAIN)).await.unwrap_or_default();
    wiring::print_summaries(&summaries)
}
