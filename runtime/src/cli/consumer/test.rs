//! `klines consumer test`.

use std::path::PathBuf;

use clap::Args;
use klines_config::quantity::HumanDuration;

/// `klines consumer test`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A project is a folder with consumer.toml: every case in its tests/*.toml runs, in the order of their names. A \
component runs with the klines of a generated market, or with those of --case FILE. Both run as in `klines run`, with \
the same engine, limits, deadlines and grants. But granted folders are new temporary ones, the state is empty, the \
case sets the variables, and the case answers HTTP requests: no request leaves this machine, and no file on it \
changes, except golden files with --update.

A crash report is a folder that klines writes when it stops or quarantines a consumer that crashed. Its component runs \
with the recorded settings and limits, without any grant and with an empty state, up to the call that crashed.

Exit codes: 0 all passed (crash report: it crashes again as reported), 1 failed, 78 a case or klines.toml is refused.

Examples:
  klines consumer test
  klines consumer test --case basic --until 37
  klines consumer test --update
  klines consumer test --live --for 30s
  klines consumer test plugins/ema.wasm --case ema.toml
  klines consumer test klines-data/quarantine/mine-1")]
pub struct TestArgs {
    /// Folder of a project, component file, or crash report (a folder in DATA_DIR/quarantine)
    #[arg(value_name = "DIR|COMPONENT|CRASH_REPORT", default_value = ".")]
    pub target: PathBuf,
    /// Run only this case: its name in tests/, or its file
    #[arg(long, value_name = "NAME|FILE")]
    pub case: Option<String>,
    /// Rewrite the golden files and print what changed in them
    #[arg(long, conflicts_with_all = ["until", "live"])]
    pub update: bool,
    /// Stop after call number CALL and print what it did
    #[arg(long, value_name = "CALL", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "live")]
    pub until: Option<u64>,
    /// Run against a simulated exchange in real time, and show the log
    #[arg(long)]
    pub live: bool,
    /// With --live: stop after this duration [default: 10s]
    #[arg(long = "for", value_name = "DURATION", value_parser = HumanDuration::of_flag, requires = "live")]
    pub duration: Option<HumanDuration>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
