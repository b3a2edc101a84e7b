//! `klines-simulation [FIRST [SEEDS]]`: simulates runs by seed. One seed alone prints a trace.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use klines_simulation::{Plan, run};

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).map(|text| text.parse::<u64>().context(format!("{text} is no number")));
    let first = number(0).transpose()?.unwrap_or_default();
    let mut out = std::io::stdout().lock();
    let Some(seeds) = number(1).transpose()? else {
        let plan = Plan::of(first);
        let outcome = run(&plan, true);
        write!(out, "{plan}{}", outcome.trace)?;
        outcome.faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
        return Ok(if outcome.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    };
    let (began, mut failed, mut compared) = (Instant::now(), 0, 0);
    for seed in first..first.saturating_add(seeds) {
        let plan = Plan::of(seed);
        let outcome = run(&plan, false);
        compared += outcome.compared;
        if !outcome.faults.is_empty() {
            failed += 1;
            write!(out, "{plan}")?;
            outcome.faults.iter().try_for_each(|fault| writeln!(out, "fault: {fault}"))?;
            writeln!(out, "repeat it with: make sim SEED={seed}\n")?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate that is printed")]
    let rate = seeds as f64 / seconds;
    writeln!(out, "{seeds} seeds, {failed} failed, {compared} klines compared; {rate:.0} seeds a second")?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
