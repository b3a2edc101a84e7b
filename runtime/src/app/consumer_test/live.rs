//! `klines consumer test --live`: runs the component against a simulated exchange in real time, through the whole
//! pipeline of a run, with its queue, its worker and its pauses.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bybit_sim::{Sim, SimConfig};
use klines_authoring::case::{Case, Ending, Source};
use klines_authoring::harness::{Fixture, Harness, Outcome, RepeatCommand, judge_effects};
use klines_config::quantity::HumanDuration;
use klines_config::{Config, Reads, Sources};
use klines_delivery::data_dir::DataDir;
use klines_delivery::hub::Hub;
use klines_delivery::queue::Grouping;
use klines_delivery::stats::{LossReason, State};
use klines_domain::count::counted;
use klines_domain::symbol::Symbol;
use klines_system::clock::LocalClock;
use url::Url;

use super::market;
use super::summary::Summary;
use crate::app::cluster::Part;
use crate::app::exchange::{self, Choices};
use crate::app::observed::Observed;
use crate::app::{output, run as live, wiring};
use crate::cli::TestArgs;
use crate::telemetry;
use klines_store::run::EarlierSymbols;

/// The duration without `--for`.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);
/// How much trading history the exchange has at the start.
const HISTORY: Duration = Duration::from_secs(120);
/// How long the consumer may take to finish.
const DRAIN: Duration = Duration::from_secs(10);

/// Runs a case in real time and checks the expectations that do not depend on time.
pub(super) fn run(harness: &Harness, case: &Case, args: &TestArgs, repeat: &RepeatCommand) -> anyhow::Result<Summary> {
    let fixture = harness.live_fixture(case)?;
    let (seed, symbols) = match &case.input.source {
        Source::Market { seed, symbols, .. } => (*seed, symbols.clone()),
        Source::Trades(_) | Source::Klines(_) => {
            (1, ["BTCUSDT"].iter().filter_map(|name| Symbol::new(name).ok()).collect())
        }
    };
    let category = case.input.category.unwrap_or_default();
    let mut config = configuration(case, &symbols, fixture.scratch.path().to_owned())?;
    // Fails if an earlier case has already started logging.
    let _ = telemetry::start(config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let exchange = market::market(seed, category, &symbols)?.with_history(HISTORY);
    let exchange = runtime.block_on(Sim::start(SimConfig::new(exchange))).context("starting the exchange")?;
    config.exchange.ws_url = Some(Url::from_str(&exchange.ws_url())?);
    config.exchange.rest_url = Some(Url::from_str(&exchange.rest_url())?);
    let outcome = run_case(&config, case, &fixture, args, &runtime);
    runtime.block_on(exchange.stop());
    let (outcome, mut failures) = outcome?;
    failures.extend(judge_effects(&case.expect, &fixture));
    let notes = vec!["in real time: golden, calls and ends are not checked".to_owned()];
    Ok(Summary::new(case, &fixture, outcome, failures, notes, repeat))
}

/// Returns the configuration of a run with the case's input, its consumer and default values for the rest.
fn configuration(case: &Case, symbols: &[Symbol], data_dir: PathBuf) -> anyhow::Result<Config> {
    let joined = |items: &[String]| items.join(",");
    let symbols: Vec<String> = symbols.iter().map(ToString::to_string).collect();
    let intervals: Vec<String> = case.input.intervals.iter().map(ToString::to_string).collect();
    let level = std::env::var_os("LOG_LEVEL").map(|level| (OsString::from("LOG_LEVEL"), level));
    let sources = Sources {
        flags: vec![
            ("--consumers", "console".to_owned()),
            ("--symbols", joined(&symbols)),
            ("--intervals", joined(&intervals)),
            ("--category", case.input.category.unwrap_or_default().to_string()),
        ],
        environment: level.into_iter().collect(),
        reads: Reads::Environment,
        ..Sources::default()
    };
    match klines_config::load(sources) {
        Ok((mut config, _)) => {
            config.consumers = vec![case.consumer.clone()];
            config.data_dir = data_dir;
            Ok(config)
        }
        Err(report) => {
            output::report(&report);
            anyhow::bail!("the case cannot be run in real time")
        }
    }
}

fn run_case(
    config: &Config,
    case: &Case,
    fixture: &Fixture,
    args: &TestArgs,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<(Outcome, Vec<String>)> {
    let hub = Arc::new(Hub::new());
    let spec = wiring::spec(&case.consumer, Box::new(fixture.blueprint.clone()), Grouping::UpTo(wiring::BATCH));
    let data_dir = DataDir::new(&config.data_dir, config.data_dir_max);
    let manager = wiring::start(vec![spec], None, config, &hub, &data_dir, wiring::Awaited::All)?;
    let catalog = wiring::catalog(config);
    let observed = Arc::new(Observed::new(config, manager.views(), hub, LocalClock::start(), catalog, data_dir));
    let choices = Choices::new(exchange::wanted(config), &config.klines.intervals);
    let length = args.duration.unwrap_or(HumanDuration(DEFAULT_DURATION));
    let served = runtime.block_on(async {
        tokio::select! { biased;
            served = live::serve(config, Some(length), (&observed, &Part::Alone), (&choices, EarlierSymbols::new(), BTreeMap::new())) => served,
            _ = live::all_consumers_ended(&manager) => Ok(()),
        }
    });
    let memory = fixture.memory();
    observed.end();
    let summaries = manager.shutdown(DRAIN);
    fixture.capture.close();
    served?;
    let (mut outcome, mut failures) = (Outcome { memory, ..Outcome::default() }, Vec::new());
    for stats in summaries.into_iter().map(|summary| summary.stats) {
        outcome.calls = stats.calls;
        outcome.klines = stats.delivered;
        outcome.retries = stats.retries;
        let is_over = matches!(stats.state, State::Failed | State::Quarantined | State::Finished);
        if case.expect.ends == Ending::Ok && (is_over || stats.crashes() > 0) {
            failures.push(format!(
                "it is {} after {}: the log says why",
                stats.state,
                counted(stats.crashes(), "crash")
            ));
        }
        let lost = stats.losses.of(LossReason::QueueFull);
        if lost > 0 {
            failures.push(format!("it was too slow: {} lost", counted(lost, "kline")));
        }
    }
    Ok((outcome, failures))
}
