//! `klines consumer test`.

use std::path::PathBuf;

use clap::Args;
use klines_config::quantity::HumanDuration;

/// `klines consumer test`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A project is a folder with consumer.toml: every case in its tests/*.toml is run, in the order of their names. A \
component is run on the made-up market, or as --case FILE says. Both run as in `klines run`: the same engine, limits, \
deadlines and grants. But granted folders are fresh temporary ones, the state is empty, variables are those of the \
case, and requests are answered by the case: nothing leaves this machine, and what is on it stays as it is.

A bundle is what klines wrote down of a quarantined consumer: its component is run with its settings and limits, \
without any grant and with an empty state, up to the call that it did not survive.

Exit codes: 0 all passed (a bundle: it crashes as written down), 1 not, 78 a case or klines.toml is refused.

Examples:
  klines consumer test
  klines consumer test --case basic --until 37
  klines consumer test --update
  klines consumer test --live --for 30s
  klines consumer test plugins/ema.wasm --case ema.toml
  klines consumer test klines-data/quarantine/mine-1")]
pub struct TestArgs {
    /// A project's folder, a component, or a bundle: a folder below DATA_DIR/quarantine
    #[arg(value_name = "DIR|COMPONENT|BUNDLE", default_value = ".")]
    pub target: PathBuf,
    /// Only this case: its name in tests/, or a file
    #[arg(long, value_name = "NAME|FILE")]
    pub case: Option<String>,
    /// Write the golden files anew and say what has changed in them
    #[arg(long, conflicts_with_all = ["until", "live"])]
    pub update: bool,
    /// End after this call and show what it did
    #[arg(long, value_name = "CALL", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "live")]
    pub until: Option<u64>,
    /// Run beside a simulated exchange in real time, and show the log
    #[arg(long)]
    pub live: bool,
    /// With --live: for how long [default: 10s]
    #[arg(long = "for", value_name = "DURATION", requires = "live")]
    pub duration: Option<HumanDuration>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}
