//! A simulation that finds nothing proves nothing: each deliberate mistake has to be found. Several are made at once, one on
//! each thread.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use klines_domain::mutants::{Mutant, make};
use klines_simulation::{Plan, run};

use super::{exit_code, threads};

/// The seeds within which a mistake has to be found.
const SEEDS: u64 = 1_000;

/// Makes each mistake and prints the seed that finds it. The exit code is that of a failure if one is not found.
///
/// # Errors
/// When the result cannot be printed, or a run has panicked.
pub(super) fn find_all() -> anyhow::Result<ExitCode> {
    let next = AtomicUsize::new(0);
    let worker = || -> anyhow::Result<usize> {
        let mut missed = 0;
        while let Some(mutant) = Mutant::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            make(Some(*mutant));
            let found = (0..SEEDS).find(|seed| !run(&Plan::of(*seed), false).faults.is_empty());
            let text = found.map_or_else(
                || format!("{mutant:?} is not found in {SEEDS} seeds"),
                |seed| format!("{mutant:?} is found by seed {seed}"),
            );
            writeln!(std::io::stdout(), "{text}")?;
            missed += usize::from(found.is_none());
        }
        Ok(missed)
    };
    let mut missed = 0;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| {
            missed += worker.join().map_err(|_| anyhow::anyhow!("a run has panicked"))??;
            anyhow::Ok(())
        })
    })?;
    writeln!(std::io::stdout(), "{} mistakes, {missed} not found", Mutant::ALL.len())?;
    Ok(exit_code(missed == 0))
}
