//! `klines-simulation [FIRST [SEEDS]]`: simulates runs by seed, on every core. One seed alone prints a trace. With the feature
//! `mutants`, `klines-simulation mutants` makes each deliberate mistake, and has to find it.

#[cfg(feature = "mutants")]
mod mutants;

use std::io::Write;
use std::num::NonZero;
use std::ops::AddAssign;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::Context;
use klines_simulation::{Plan, run};

/// The runs of a thread.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    failed: u64,
    compared: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.failed += other.failed;
        self.compared += other.compared;
    }
}

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
    Ok(exit_code(outcome.faults.is_empty()))
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
    let Tally { failed, compared } = all;
    writeln!(
        std::io::stdout(),
        "{seeds} seeds, {failed} failed, {compared} klines compared; {rate:.0} seeds a second"
    )?;
    Ok(exit_code(failed == 0))
}

/// Simulates one of many seeds.
fn check(seed: u64) -> anyhow::Result<Tally> {
    let plan = Plan::of(seed);
    let outcome = run(&plan, false);
    if !outcome.faults.is_empty() {
        let mut out = std::io::stdout().lock();
        write!(out, "{plan}")?;
        outcome.faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
        writeln!(out, "repeat it with: make sim SEED={seed}\n")?;
    }
    Ok(Tally { failed: u64::from(!outcome.faults.is_empty()), compared: outcome.compared })
}
