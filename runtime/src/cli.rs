//! The command line: what can be typed, and the text of `--help`.
//!
//! Parses and nothing else: what a command does is decided in `app`. Flags that stand for configuration keys are
//! passed on as text, so that their mistakes are shown together with those of the other layers.

mod args;
mod consumer;
mod replay;
mod run;
mod simulate;
#[cfg(test)]
mod tests;
mod tls;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

pub use self::args::{ConfigArgs, HistoryArgs, LogArgs, MarketArgs};
pub use self::consumer::{
    BuildArgs, ComponentCheckArgs, ConsumerCommand, InspectArgs, ListArgs, LogsArgs, NewArgs, OrderArgs, RunPlaceArgs,
    TestArgs,
};
pub use self::replay::{OutputFormat, ReplayArgs};
pub use self::run::RunArgs;
pub use self::simulate::{SimulateArgs, Times};
pub use self::tls::{SelfSignedArgs, TlsCommand};

/// Everything went well.
pub const EXIT_OK: u8 = 0;
/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line could not be understood.
pub const EXIT_USAGE: u8 = 2;
/// The configuration was refused; nothing was started.
pub const EXIT_CONFIG: u8 = 78;

/// What is said after the help of the whole command.
const AFTER_HELP: &str = "\
Examples:
  klines run --demo                           candles in five seconds, without a network
  klines run                                  BTCUSDT and ETHUSDT, live, at 1m, 5m and 1h
  klines run --symbols SOLUSDT --intervals 1s,1m
  klines check                                every mistake of the configuration at once
  klines replay trades.csv.gz --intervals 1m --format csv > klines.csv

Configuration:
  flag > environment > .env > klines.toml > default; `klines config show` tells which one counts.
  Secrets have no flags: set them in the environment or in .env.

Exit codes:
  0 ok, 1 failed, 2 usage, 78 configuration refused";

/// Exact candlesticks from Bybit's public trades, handed to sandboxed consumers.
#[derive(Clone, Debug, Parser)]
#[command(name = "klines", version, after_help = AFTER_HELP, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Make klines of live trades and hand them to the enabled consumers
    Run(RunArgs),
    /// Check the configuration and show every mistake at once, without starting anything
    Check(CheckArgs),
    /// Make klines of recorded trades, as fast as they can be read
    Replay(ReplayArgs),
    /// Compare our klines with the exchange's own, as a recording holds both
    Verify(VerifyArgs),
    /// Serve a local Bybit: the public streams and REST calls, from a seed or a recording
    Simulate(SimulateArgs),
    /// Make consumers, look at them, give them orders, and test their components
    #[command(subcommand)]
    Consumer(ConsumerCommand),
    /// Make a key for clients of the websocket consumer
    Keygen(KeygenArgs),
    /// Make certificates for the websocket consumer
    #[command(subcommand)]
    Tls(TlsCommand),
    /// Look at the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Compile the component on standard input: klines runs this itself
    #[command(hide = true)]
    CompileComponent(CompileArgs),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  klines completions bash > ~/.local/share/bash-completion/completions/klines")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `klines compile-component`: what `klines_wasm::compiler` runs.
#[derive(Args, Clone, Debug)]
pub struct CompileArgs {
    /// Bytes of memory
    #[arg(long)]
    pub memory: u64,
    /// Seconds of each core
    #[arg(long)]
    pub seconds: u64,
    /// Instances that the component may make
    #[arg(long)]
    pub instances: u64,
    /// Bytes that the compiled component may take
    #[arg(long)]
    pub loaded: u64,
    /// Instances that it makes, if it is compiled
    #[arg(long, default_value_t)]
    pub counted: u64,
    /// Bytes that its core instances take outside of memories and tables, if it is compiled
    #[arg(long, default_value_t)]
    pub contexts: u64,
    /// Bytes that count for each instance that it may make, if it is compiled
    #[arg(long, default_value_t)]
    pub each: u64,
    /// Standard output holds the code already: measure what loading it takes
    #[arg(long)]
    pub compiled: bool,
}

/// `klines check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Reads every layer, asks every consumer about its own settings, and opens every component. Nothing is \
bound, started or written.

Exit codes: 0 nothing wrong, 78 configuration refused.")]
pub struct CheckArgs {
    /// Also ask the exchange whether the symbols exist
    #[arg(long)]
    pub online: bool,
    /// Print the problems as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is watched.
    #[command(flatten)]
    pub market: MarketArgs,
    /// How klines are made.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// `klines verify`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
A recording is a file of raw frames, one a line, or wrapped in a recorder's records; plain or gzip. It \
must hold trades and kline pushes of the same symbols.

Exit codes: 0 all equal or only behind, 1 some wrong or none compared.

Example:
  klines verify session.jsonl.gz")]
pub struct VerifyArgs {
    /// The recordings
    #[arg(required = true, value_name = "RECORDING")]
    pub recordings: Vec<PathBuf>,
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
}

/// `klines keygen`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Prints 256 random bits from the system as 43 letters, digits, - and _, and keeps them nowhere. Each call \
makes another one.

To change a key without locking a client out, list the new one under `keys` of [websocket] first, then \
change the clients, then take the old one away.

Exit codes: 0 ok, 1 the system gave no random bits.

Examples:
  klines keygen
  echo \"WSS_AUTH_KEY=$(klines keygen)\" >> .env")]
pub struct KeygenArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `klines config …`.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every key with its effective value and where it came from; secrets are masked
    Show(ShowArgs),
}

/// `klines config show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What is watched.
    #[command(flatten)]
    pub market: MarketArgs,
    /// How klines are made.
    #[command(flatten)]
    pub history: HistoryArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Writes the completions of a shell.
pub fn completions(shell: Shell, out: &mut impl std::io::Write) {
    clap_complete::generate(shell, &mut Cli::command(), "klines", out);
}
