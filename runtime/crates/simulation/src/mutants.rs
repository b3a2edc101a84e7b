//! A simulation that finds nothing proves nothing: each deliberate mistake has to be found. Several are made at once, one on
//! each thread.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use klines_domain::mutants::{Mutant, make};
use klines_simulation::{Plan, cluster, run};

use super::{exit_code, threads};

/// The seeds within which a mistake has to be found.
const SEEDS: u64 = 1_000;

/// Returns whether the run of a seed finds a mistake of one process.
fn is_found_in_process(seed: u64) -> bool {
    !run(&Plan::of(seed), false).faults.is_empty()
}

/// Returns whether the run of a seed finds a mistake of a cluster.
fn is_found_in_cluster(seed: u64) -> bool {
    !cluster::run(&cluster::Plan::of(seed), false).faults.is_empty()
}

/// Makes each mistake and prints the seed that finds it. The exit code is that of a failure if one is not found.
///
/// # Errors
/// When the result cannot be printed, or a run has panicked.
pub(super) fn find_all() -> anyhow::Result<ExitCode> {
    type Finds = fn(u64) -> bool;
    let of_process = Mutant::PROCESS.map(|mutant| (mutant, is_found_in_process as Finds));
    let of_cluster = Mutant::CLUSTER.map(|mutant| (mutant, is_found_in_cluster as Finds));
    let all = [&of_process[..], &of_cluster[..]].concat();
    let next = AtomicUsize::new(0);
    let worker = || -> anyhow::Result<usize> {
        let mut missed = 0;
        while let Some((mutant, is_found)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            make(Some(*mutant));
            let found = (0..SEEDS).find(|seed| is_found(*seed));
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
    writeln!(std::io::stdout(), "{} mistakes, {missed} not found", all.len())?;
    Ok(exit_code(missed == 0))
}
