//! `klines check`: validates the configuration, reports every error and the sizes of the queues, and starts nothing. It
//! keeps compiled components for the run.

use std::process::ExitCode;

use klines_config::cluster::Role;
use klines_config::{Config, Report};
use serde_json::json;

use super::queues::Queues;
use super::{exchange, output, past, wiring};
use crate::cli::{CheckArgs, EXIT_CONFIG};

/// Checks all layers of the configuration, every component, the settings of every consumer and, with `--online`, the
/// symbols.
///
/// # Errors
/// When the check itself fails: the WebAssembly engine cannot start, or the exchange does not answer.
pub fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (mut config, mut report) = klines_config::examine(args.flags.sources());
    config.adapt_to_role();
    let components = wiring::compiling::for_a_check(&config)?;
    let (catalog, past) = (wiring::catalog(&config), past::of_run(&config));
    let reads = wiring::Reads::of(&past);
    report.merge(match wiring::prepare(&config, &catalog, &components, wiring::Awaited::All, reads)? {
        Ok(prepared) => prepared.warnings,
        Err(problems) => problems,
    });
    report.merge(exchange::warnings(&config));
    let mut found = None;
    if args.online && !report.is_refusal() {
        let (problems, symbols) = exchange::check_online(&config)?;
        report.merge(problems);
        found = Some(symbols);
    }
    let queues = Queues::new(&config, found);
    report.merge(queues.report(&config));
    print_result(&report, &config, &queues, args.json)?;
    Ok(if report.is_refusal() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS })
}

fn print_result(report: &Report, config: &Config, queues: &Queues<'_>, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let ok = !report.is_refusal();
        return output::print(&format!(
            "{:#}\n",
            json!({ "ok": ok, "problems": report.json(), "queues": queues.json() })
        ));
    }
    output::report(report);
    if report.is_refusal() {
        return Ok(());
    }
    let consumers: Vec<&str> = config.consumers.iter().map(|consumer| consumer.name.as_str()).collect();
    let intervals: Vec<String> = config.klines.intervals.iter().map(ToString::to_string).collect();
    let (watched, intervals, consumers) = (exchange::describe(config), intervals.join(","), consumers.join(","));
    let (queues, cluster) = (queues.text(), &config.cluster.name);
    let flow = match config.cluster.role {
        Role::All => format!("{watched} at {intervals} to {consumers}"),
        Role::Ingest => format!("{watched} at {intervals} to the cluster {cluster}"),
        Role::Serve => format!("{watched} at {intervals} from the cluster {cluster} to {consumers}"),
    };
    output::print(&format!("configuration ok: {flow}\n{queues}"))
}
