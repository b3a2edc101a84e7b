//! `klines consumer …`: commands that show and control the consumers of a running `klines run`, and commands for
//! components that need no run.

mod authoring;
mod share;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use klines_config::{Flags, Sources};

pub use self::authoring::{BuildArgs, ComponentCheckArgs, NewArgs};
pub use self::share::{
    AddArgs, ConfigFileArgs, OfferArgs, PasswordArgs, PublishArgs, RemoveArgs, SearchArgs, SignArgs, UpgradeArgs,
};
pub use self::test::TestArgs;
use super::args::{self, ConfigArgs, KlineArgs, LogArgs, MarketArgs};

/// `klines consumer …`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConsumerCommand {
    /// Create a project for a new consumer, in a language of your choice
    New(NewArgs),
    /// Build a component from a project or a core module
    Build(BuildArgs),
    /// Check whether a component would run, and report every reason why not
    Check(ComponentCheckArgs),
    /// List the consumers of a run with their state, klines, losses and memory
    List(ListArgs),
    /// Show the log lines of a consumer and those of klines about it
    Logs(LogsArgs),
    /// Stop delivering klines to a consumer; new klines wait in its queue
    Pause(OrderArgs),
    /// Resume delivery to a consumer; restart it if it failed or is quarantined
    Resume(OrderArgs),
    /// Load the component of a consumer again; if the new version does not start, the current one continues
    Reload(OrderArgs),
    /// Show a component, the permissions that it requests, and the lines of klines.toml that grant them
    Inspect(InspectArgs),
    /// Find published components in an index
    Search(SearchArgs),
    /// Verify a component of others, show what it wants, and add it to the configuration
    Add(AddArgs),
    /// Replace the component of a consumer by another release, and show how they differ
    Upgrade(UpgradeArgs),
    /// Remove a consumer that was added
    Remove(RemoveArgs),
    /// Sign a component with the private key of its publisher
    Sign(SignArgs),
    /// Put a signed component into a registry
    Publish(PublishArgs),
    /// Run the tests of a consumer, or reproduce a crash from its crash report
    Test(TestArgs),
}

/// Selects the run that a command talks to.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Target run")]
pub struct TargetRunArgs {
    /// The data_dir of the run [default: as in the configuration, or klines-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
    /// The configuration file of the run [default: klines.toml, if it exists; variable KLINES_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// The file of environment variables of the run [default: .env, if it exists]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
}

/// `klines consumer list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Connects to a `klines run` of the same user on the same machine through admin.sock in its data_dir.

Exit codes: 0 ok, 1 no run answers, 78 configuration refused.")]
pub struct ListArgs {
    /// Print the result as JSON, with more fields
    #[arg(long)]
    pub json: bool,
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}

/// `klines consumer logs`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A run keeps the last 1,000 lines of each consumer, from level info up, or lower if log.level is lower.

Exit codes: 0 ok, 1 no run answers, or it has no such consumer, 78 configuration refused.

Example:
  klines consumer logs ema --follow")]
pub struct LogsArgs {
    /// Name of the consumer
    pub name: String,
    /// Number of lines to show, newest last
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
    /// Keep printing new lines as they are logged
    #[arg(short, long)]
    pub follow: bool,
    /// Print each line as a JSON object
    #[arg(long)]
    pub json: bool,
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}

/// `klines consumer pause`, `resume` and `reload`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Waits until the consumer has carried the order out, which it does between two calls.

Exit codes: 0 done, 1 not done; the reason is printed, 78 configuration refused.")]
pub struct OrderArgs {
    /// Name of the consumer
    pub name: String,
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}

impl TargetRunArgs {
    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let data_dir = self.data_dir.clone().map(|folder| ("--data-dir", folder));
        let flags: Flags = data_dir.into_iter().collect();
        Sources::of_process(flags, self.config.clone(), self.env_file.clone())
    }
}

/// `klines consumer inspect`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Compiles the component but runs none of its code. The requested permissions follow from its imports and \
from its manifest, if it has one; the granted permissions follow from [consumers.NAME.allow].

Exit codes: 0 ok, 1 the component does not exist or cannot be used, 78 configuration refused.

Examples:
  klines consumer inspect plugins/ema.wasm
  klines consumer inspect webhook")]
pub struct InspectArgs {
    /// Component file, or name of a consumer
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl InspectArgs {
    /// Returns the sources of the configuration; with `enabled`, only that consumer is enabled.
    #[must_use]
    pub fn sources(&self, enabled: Option<&str>) -> Sources {
        let consumers = enabled.map(str::to_owned).or_else(|| self.config.consumers.clone());
        let config = ConfigArgs { consumers, ..self.config.clone() };
        args::sources(&config, &MarketArgs::default(), &KlineArgs::default(), &LogArgs::default())
    }
}
