//! The command line: its commands and flags, and the text of `--help`.
//!
//! Only parses; `app` decides what a command does. Flags that set configuration keys are passed on as text, so that
//! their errors are reported together with those of the other layers.

mod args;
mod backfill;
mod cluster;
mod consumer;
mod fetch;
mod history;
mod operate;
mod replay;
mod run;
mod simulate;
mod store;
#[cfg(test)]
mod tests;
mod tls;
mod verify;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use self::args::{ConfigArgs, KlineArgs, LogArgs, MarketArgs, SourceArgs};
pub use self::backfill::BackfillArgs;
pub use self::cluster::{ClusterCommand, ClusterLoadArgs, ClusterStatusArgs};
pub use self::consumer::{
    AddArgs, BuildArgs, ComponentCheckArgs, ConfigFileArgs, ConsumerCommand, InspectArgs, ListArgs, LogsArgs, NewArgs,
    OfferArgs, OrderArgs, PasswordArgs, PublishArgs, RemoveArgs, SearchArgs, SignArgs, TargetRunArgs, TestArgs,
    UpgradeArgs,
};
pub use self::fetch::FetchArgs;
pub use self::history::{HistoryArgs, HistoryFormat};
pub use self::operate::{DoctorArgs, TailArgs, TailFormat, TopArgs};
pub use self::replay::{Columns, Decimals, OutputFormat, ReplayArgs, ValueFormat, ValuePath};
pub use self::run::RunArgs;
pub use self::simulate::{SimulateArgs, Times};
pub use self::store::{StoreArgs, StoreBackupArgs, StoreCommand, StoreInfoArgs, StoreVerifyArgs};
pub use self::tls::{SelfSignedArgs, TlsCommand};
pub use self::verify::VerifyArgs;
pub use self::version::version;

/// The command succeeded.
pub const EXIT_OK: u8 = 0;
/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line could not be parsed.
pub const EXIT_USAGE: u8 = 2;
/// The configuration was refused; nothing was started.
pub const EXIT_CONFIG: u8 = 78;

/// The flags whose values are lists.
const LIST_FLAGS: [&str; 4] = ["--symbols", "--intervals", "--consumers", "--category"];

/// The text after the help of `klines` itself.
const AFTER_HELP: &str = "\
Examples:
  klines run --demo                           see klines within five seconds, without a network
  klines run                                  make live klines of BTCUSDT and ETHUSDT
  klines run --symbols SOLUSDT --intervals 1s,1m
  klines check                                validate the configuration and report every error
  klines replay trades.csv.gz --intervals 1m --format csv > klines.csv
  klines history BTCUSDT 5m --format chart    draw the stored klines in the terminal

Configuration:
  flag > environment > .env > klines.toml > default; `klines config show` shows the source of each.
  Secrets have no flags: set them in the environment or in .env.

Exit codes:
  0 ok, 1 failed, 2 usage, 78 configuration refused";

/// Exact candlesticks from Bybit's public trades, delivered to sandboxed consumers.
#[derive(Clone, Debug, Parser)]
#[command(name = "klines", version = version(), after_help = AFTER_HELP, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses the command line of this process. A usage error is printed and ends the process.
    #[must_use]
    pub fn of_process() -> Self {
        Self::parse_line(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Parses a command line.
    ///
    /// # Errors
    /// The usage error, or the help that was asked for.
    pub fn parse_line(line: impl IntoIterator<Item: Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let cli = Self::try_parse_from(&line).map_err(|error| with_comma_tip(error, &line))?;
        let (name, checked) = match &cli.command {
            Command::Replay(replay) => ("replay", replay.check()),
            Command::History(history) => ("history", history.check()),
            Command::Verify(verify) => ("verify", verify.check()),
            Command::Backfill(backfill) => ("backfill", backfill.check()),
            Command::Fetch(fetch) => ("fetch", fetch.check()),
            _ => return Ok(cli),
        };
        let mut command = Self::command();
        command.build();
        let refused =
            |reason| command.find_subcommand_mut(name).map(|it| it.error(ErrorKind::ArgumentConflict, reason));
        checked.err().and_then(refused).map_or(Ok(cli), Err)
    }
}

/// Adds how lists are written to the error of an unexpected argument that follows one.
fn with_comma_tip(mut error: clap::Error, line: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(unexpected)) = error.get(ContextKind::InvalidArg) else { return error };
    let follows = |three: &&[OsString]| matches!(three, [_, _, last] if last.to_str() == Some(unexpected));
    if let Some([flag, first, _]) = line.windows(3).find(follows)
        && LIST_FLAGS.iter().any(|known| flag.to_str() == Some(known))
    {
        let tip = format!("commas separate the items of a list: {} {},{unexpected}", flag.display(), first.display());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make klines from live trades and deliver them to the enabled consumers
    Run(RunArgs),
    /// Let a run read its configuration again and apply what can change
    Reload(ReloadArgs),
    /// Print the klines and values of a run as they are published
    Tail(TailArgs),
    /// Validate the configuration and report every error, without starting anything
    Check(CheckArgs),
    /// Show feeds, symbols and consumers of a run live in the terminal
    Top(TopArgs),
    /// Check the machine, the network and the files that a run needs, and say what fixes what is wrong
    Doctor(DoctorArgs),
    /// Make klines from recorded trades, as fast as the recording can be read
    Replay(ReplayArgs),
    /// Compare recorded or stored klines with the exchange's own, or check the store
    Verify(VerifyArgs),
    /// Show stored klines: as a table, csv, JSON, or candlesticks in the terminal
    History(HistoryArgs),
    /// Download Bybit's archives of trades, a file for each day
    Fetch(FetchArgs),
    /// Store klines of the past, from archives or from Bybit's REST API
    Backfill(BackfillArgs),
    /// Show, copy and check the store of klines
    #[command(subcommand)]
    Store(StoreCommand),
    /// Show a cluster of several processes on Redis
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Serve a simulated Bybit (public streams and REST calls) from a seed or a recording
    Simulate(SimulateArgs),
    /// Create, build, test, inspect and control consumers
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    /// Generate a key for clients of the websocket consumer, or for signing components
    Keygen(KeygenArgs),
    /// Create certificates for the websocket consumer
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Compile the component on standard input (klines runs this command itself)
    #[command(hide = true)]
    CompileComponent(CompileArgs),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  klines completions bash > ~/.local/share/bash-completion/completions/klines")]
    Completions {
        /// Shell to print completions for
        shell: Shell,
    },
}

/// `klines compile-component`: the process that `klines_wasm::compiler` starts.
#[derive(Args, Clone, Debug)]
pub struct CompileArgs {
    /// Memory limit of the compiler in bytes
    #[arg(long)]
    pub memory: u64,
    /// CPU time limit of the compiler in seconds per core
    #[arg(long)]
    pub seconds: u64,
    /// Largest number of instances that the component may create, of core modules and of components
    #[arg(long)]
    pub instances: u64,
    /// Largest size of the compiled component in bytes
    #[arg(long)]
    pub loaded: u64,
    /// With --compiled: number of instances that the component creates
    #[arg(long, default_value_t)]
    pub counted: u64,
    /// With --compiled: bytes that its core instances take outside of their memories and tables
    #[arg(long, default_value_t)]
    pub contexts: u64,
    /// With --compiled: bytes counted for each instance that it may create
    #[arg(long, default_value_t)]
    pub each: u64,
    /// Standard output already holds the compiled code: only measure what loading it takes
    #[arg(long)]
    pub compiled: bool,
}

/// `klines check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads every layer of the configuration, compiles every component, and lets every consumer validate its \
settings. Opens no port, starts no consumer and writes no file.

Exit codes: 0 no error, 78 configuration refused.")]
pub struct CheckArgs {
    /// Also check with the exchange that the symbols exist
    #[arg(long)]
    pub online: bool,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}

/// `klines reload`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Connects to a `klines run` of the same user on the same machine through admin.sock in its data_dir. The run reads its \
flags, variables and files again, applies what can change, and names what needs a restart. It does the same when a file \
changes and, without a terminal, on SIGHUP.

Exit codes: 0 ok, 1 no run answers, 78 configuration refused, and the run keeps the old one.

Example:
  klines reload")]
pub struct ReloadArgs {
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}

/// `klines keygen`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Prints a key of 43 characters (letters, digits, - and _) from 256 random bits of the operating system. The \
key is not stored. Each call prints a new key.

To replace a key without locking a client out, first add the new key to `keys` in [websocket], then \
change the clients, then remove the old key.

Exit codes: 0 ok, 1 the operating system returned no random bits.

Examples:
  klines keygen
  echo \"WSS_AUTH_KEY=$(klines keygen)\" >> .env
  klines keygen --minisign acme.key")]
pub struct KeygenArgs {
    /// Write a key pair of minisign for `klines consumer sign`: the private key, encrypted with a password, to FILE, and
    /// the public key to the same name with the ending .pub
    #[arg(long, value_name = "FILE")]
    pub minisign: Option<PathBuf>,
    /// With --minisign: where the password comes from.
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `klines config …`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with its effective value and its source; secrets are masked
    Show(ShowArgs),
}

/// `klines config show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}

/// Writes the completion script of `shell` to `out`.
pub fn completions(shell: Shell, out: &mut impl std::io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "klines", out);
}
