//! `klines-simulation [FIRST [SEEDS]]`: simulates runs by seed, on every core: of each seed one process, and one cluster. One
//! seed alone prints a trace. With the feature `mutants`, `klines-simulation mutants` makes each deliberate mistake, and
//! has to find it.

#[cfg(feature = "mutants")]
mod mutants;
mod tally;

use std::io::Write;
use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use klines_simulation::{Plan, cluster, run};

use self::tally::Tally;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    #[cfg(feature = "mutants")]
    if arguments.first().is_some_and(|first| first == "mutants") {
        return mutants::find_all();
    }
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().context(format!("{text} is no number")));
    let first = number(0).transpose()?.unwrap_or_default();
    match number(1).transpose()? {
        Some(seeds) => simulate(first, seeds),
        None => trace(first),
    }
}

fn exit_code(has_passed: bool) -> ExitCode {
    if has_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns how many threads simulate at once.
fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Simulates one seed and prints what happens.
fn trace(seed: u64) -> anyhow::Result<ExitCode> {
    let plan = Plan::of(seed);
    let outcome = run(&plan, true);
    let mut out = std::io::stdout().lock();
    write!(out, "{plan}{}", outcome.trace)?;
    outcome.faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
    let plan = cluster::Plan::of(seed);
    let of_cluster = cluster::run(&plan, true);
    write!(out, "\n{plan}{}", of_cluster.trace)?;
    of_cluster.faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
    of_cluster.figures.iter().try_for_each(|figures| writeln!(out, "{figures}"))?;
    Ok(exit_code(outcome.faults.is_empty() && of_cluster.faults.is_empty()))
}

/// Simulates many seeds and prints what is wrong with those that fail.
fn simulate(first: u64, seeds: u64) -> anyhow::Result<ExitCode> {
    let (began, next) = (Instant::now(), AtomicU64::new(first));
    let worker = || -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(seeds) {
                return Ok(tally);
            }
            tally += check(seed)?;
        }
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            all += worker.join().map_err(|_| anyhow::anyhow!("a run has panicked"))??;
            anyhow::Ok(())
        })
    })?;
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate that is printed")]
    let rate = seeds as f64 / seconds;
    writeln!(std::io::stdout(), "{seeds} seeds, {all}; {rate:.0} seeds a second")?;
    Ok(exit_code(all.failed == 0))
}

/// Simulates one of many seeds.
fn check(seed: u64) -> anyhow::Result<Tally> {
    let (plan, of_cluster) = (Plan::of(seed), cluster::Plan::of(seed));
    let (outcome, in_cluster) = (run(&plan, false), cluster::run(&of_cluster, false));
    let mut out = std::io::stdout().lock();
    if !outcome.faults.is_empty() {
        write!(out, "{plan}")?;
    }
    if !in_cluster.faults.is_empty() {
        write!(out, "{of_cluster}")?;
    }
    let mut faults = outcome.faults.iter().chain(&in_cluster.faults).peekable();
    let failed = u64::from(faults.peek().is_some());
    faults.try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
    if failed > 0 {
        writeln!(out, "repeat it with: make sim SEED={seed}\n")?;
    }
    Ok(Tally::of(failed, outcome.compared + in_cluster.compared, in_cluster.figures))
}
