//! `klines consumer …`: looking at consumers and giving them orders while `klines run` goes on, and what can be done
//! to components without it.

mod authoring;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use klines_config::{Flags, Sources};

pub use self::authoring::{BuildArgs, ComponentCheckArgs, NewArgs};
pub use self::test::TestArgs;
use super::args::{self, ConfigArgs, HistoryArgs, LogArgs, MarketArgs};

/// `klines consumer …`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConsumerCommand {
    /// Make a project for a consumer of your own, in a language of your choice
    New(NewArgs),
    /// Build a project, or make a component of a core module
    Build(BuildArgs),
    /// Say what a component is and wants, and everything that keeps it from running
    Check(ComponentCheckArgs),
    /// Show the consumers of a run: state, klines, losses, memory
    List(ListArgs),
    /// Show what a consumer of a run has logged, and what klines logged about it
    Logs(LogsArgs),
    /// Hand nothing to a consumer of a run; what comes waits in its queue
    Pause(OrderArgs),
    /// Go on handing klines to a consumer; start one that failed or is quarantined anew
    Resume(OrderArgs),
    /// Read a consumer's component again and let it take over; if it does not start, the present one goes on
    Reload(OrderArgs),
    /// Show what a component is, what it wants, and the lines of klines.toml that would grant it
    Inspect(InspectArgs),
    /// Run the tests of a consumer, or see again what one was quarantined for
    Test(TestArgs),
}

/// Which run is meant.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which run")]
pub struct RunPlaceArgs {
    /// Its data_dir [default: as in the configuration, or klines-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
    /// Its TOML file [default: klines.toml, if it is there; variable KLINES_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Its file of variables [default: .env, if it is there]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
}

/// `klines consumer list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reaches a `klines run` of the same user on the same machine through admin.sock in its data_dir.

Exit codes: 0 ok, 1 no klines runs there.")]
pub struct ListArgs {
    /// Print JSON, with more figures
    #[arg(long)]
    pub json: bool,
    /// Which run is meant.
    #[command(flatten)]
    pub place: RunPlaceArgs,
}

/// `klines consumer logs`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The last 1,000 lines of each consumer are kept while klines runs, from level info up or as log.level says.

Exit codes: 0 ok, 1 no klines runs there, or it has no such consumer.

Example:
  klines consumer logs ema --follow")]
pub struct LogsArgs {
    /// The consumer
    pub name: String,
    /// How many of the last lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub lines: usize,
    /// Go on with lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Print each line as JSON
    #[arg(long)]
    pub json: bool,
    /// Which run is meant.
    #[command(flatten)]
    pub place: RunPlaceArgs,
}

/// `klines consumer pause`, `resume` and `reload`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Comes back when the consumer has obeyed, which it does between two calls.

Exit codes: 0 done, 1 not done: the reason is said.")]
pub struct OrderArgs {
    /// The consumer
    pub name: String,
    /// Which run is meant.
    #[command(flatten)]
    pub place: RunPlaceArgs,
}

impl RunPlaceArgs {
    /// What the configuration is read from.
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
Compiles the component and runs nothing of it. What it wants follows from its imports and from the \
manifest inside it, if it has one; what it is granted from [consumers.NAME.allow].

Exit codes: 0 ok, 1 no component or one that cannot be used, 78 configuration refused.

Examples:
  klines consumer inspect plugins/ema.wasm
  klines consumer inspect webhook")]
pub struct InspectArgs {
    /// A component file, or the name of a consumer
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
}

impl InspectArgs {
    /// The configuration's sources; with `enabled`, that consumer alone is enabled.
    #[must_use]
    pub fn sources(&self, enabled: Option<&str>) -> Sources {
        let consumers = enabled.map(str::to_owned).or_else(|| self.config.consumers.clone());
        let config = ConfigArgs { consumers, ..self.config.clone() };
        args::sources(&config, &MarketArgs::default(), &HistoryArgs::default(), &LogArgs::default())
    }
}
