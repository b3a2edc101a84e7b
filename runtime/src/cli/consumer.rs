//! `klines consumer …`: what can be done to consumers and their components.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The commands of `klines consumer`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConsumerCommand {
    /// See again what a consumer was quarantined for
    Test(TestArgs),
}

/// `klines consumer test`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Runs the component of a bundle with its settings and limits, without any grant and with an empty state, \
up to the call that it did not survive, and says what happens.

Exit codes: 0 it crashes as written down, 1 it does not.

Example:
  klines consumer test klines-data/quarantine/mine-1")]
pub struct TestArgs {
    /// A bundle: a folder below DATA_DIR/quarantine, or the bundle.json in it
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
}
