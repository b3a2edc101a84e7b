//! `klines tail`, `klines doctor` and `klines top`: commands that look at a run and at what it needs.

use clap::{Args, ValueEnum};

use super::TargetRunArgs;
use super::args::SourceArgs;

/// `klines tail`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Connects to a `klines run` of the same user on the same machine through admin.sock in its data_dir. Topics are those of \
/v1/stream: kline.1m.BTCUSDT, kline.1m.spot:BTCUSDT, ext.CONSUMER.NAME.1m.BTCUSDT; * stands for every interval, symbol, \
consumer or name. Without topics, all confirmed klines and values are printed. If they are read too slowly, the oldest are \
left out, and a line says how many; the run never waits.

Ends with Ctrl-C, when its output is closed (as in | head), and with the run.

Exit codes: 0 ok, 1 no run answers, or it has no such topic, 78 configuration refused.

Examples:
  klines tail
  klines tail kline.1m.BTCUSDT 'kline.1h.*'
  klines tail 'ext.ema.*.*.*' --format ndjson | jq .value")]
pub struct TailArgs {
    /// Topics, as in /v1/stream [default: everything]
    #[arg(value_name = "TOPIC")]
    pub topics: Vec<String>,
    /// Also print updates of open klines, and provisional values
    #[arg(long)]
    pub updates: bool,
    /// Format of the output
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub format: TailFormat,
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}

/// The format of `klines tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TailFormat {
    /// Aligned lines for people
    Text,
    /// One JSON object per line with all fields, decimals as strings
    Ndjson,
}

/// `klines doctor`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Checks the versions, the configuration, whether a run answers, data_dir and its disk, the limit on open files, the store, \
the certificate of the websocket consumer, the exchange's REST API and streams, the local clock by the exchange's, and \
Redis. Each line is ok, a warning or a problem with what fixes it. Starts nothing and changes nothing; without a network \
it says what could not be reached.

Exit codes: 0 no problem, 1 at least one problem.

Examples:
  klines doctor
  klines doctor --json | jq '.checks[] | select(.state != \"ok\")'")]
pub struct DoctorArgs {
    /// Print the result as JSON on standard output
    #[arg(long)]
    pub json: bool,
    /// The configuration.
    #[command(flatten)]
    pub flags: SourceArgs,
}

/// `klines top`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Connects to a `klines run` of the same user on the same machine through admin.sock in its data_dir. Shows connections and \
freshness of the feeds, gaps and repairs, the consumers with their state, lag, queue, losses, memory and restarts, and \
what the symbols trade, once a second. Keys pause, resume and reload the selected consumer, and follow its log; ? lists \
them, q quits. Needs a terminal of 80 x 24 characters; NO_COLOR=1 shows no colours.

Exit codes: 0 ok, 1 no run answers, or there is no terminal, 78 configuration refused.

Examples:
  klines top
  klines top --data-dir /var/lib/klines")]
pub struct TopArgs {
    /// The run to talk to.
    #[command(flatten)]
    pub run: TargetRunArgs,
}
