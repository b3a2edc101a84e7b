//! `klines simulate`: runs a simulated Bybit, for experiments and for tests of other programs.

use std::process::ExitCode;

use anyhow::Context;
use bybit_sim::{Category as SimCategory, Fault, Market, Recording, Script, Sim, SimConfig, Times as SimTimes};
use klines_config::Config;
use klines_domain::symbol::Category;
use tracing::info;

use super::ending::{Hangup, wait_for_end};
use super::output;
use crate::cli::{SimulateArgs, Times};

/// Serves until a signal, or for the duration of `--for`.
///
/// # Errors
/// When a file cannot be read or the address cannot be listened on.
pub fn simulate(_: Config, args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let sim = Sim::start(sim_config(args)?).await.with_context(|| format!("listening on {}", args.listen))?;
        for symbol in &args.refuse {
            sim.inject(Fault::Refuse(symbol.to_string()));
        }
        output::eprint(&format!("the simulated Bybit listens on {}; Ctrl-C stops it", sim.addr()));
        output::eprint(&format!("  BYBIT_WS_URL={} BYBIT_REST_URL={} klines run", sim.ws_url(), sim.rest_url()));
        wait_for_end(args.duration, Hangup::Ends, || {}).await?;
        let counters = sim.counters();
        sim.stop().await;
        info!(?counters, "simulation ended");
        Ok(ExitCode::SUCCESS)
    })
}

fn sim_config(args: &SimulateArgs) -> anyhow::Result<SimConfig> {
    let market = match &args.recording {
        None => Market::wide(args.seed, args.symbols.into()),
        Some(path) => {
            let times = match args.times {
                Times::Now => SimTimes::Now,
                Times::Kept => SimTimes::Kept,
            };
            let recording = Recording::read(path, sim_category(args.category));
            Market::recorded(recording.with_context(|| format!("reading {}", path.display()))?.with_times(times))
        }
    };
    let mut config = SimConfig::new(market);
    if let Some(path) = &args.script {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        config.script = Script::parse(&text).with_context(|| format!("reading {}", path.display()))?;
    }
    config.listen = args.listen;
    config.speed = args.speed;
    Ok(config)
}

pub(super) const fn sim_category(category: Category) -> SimCategory {
    match category {
        Category::Linear => SimCategory::Linear,
        Category::Spot => SimCategory::Spot,
        Category::Inverse => SimCategory::Inverse,
    }
}
