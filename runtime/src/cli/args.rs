//! The flags that several commands share. They form the highest layer of the configuration.

use std::path::PathBuf;

use clap::Args;
use klines_config::{Flags, Sources};

/// Where the configuration is read from.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Configuration file [default: klines.toml, if it exists; variable KLINES_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// File of environment variables [default: .env, if it exists]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// Consumers that receive klines, comma-separated [default: console]
    #[arg(long, value_name = "NAMES")]
    pub consumers: Option<String>,
    /// Folder of component files [default: plugins]
    #[arg(long, value_name = "PATH")]
    pub plugins_dir: Option<String>,
    /// Folder for the files that klines writes [default: klines-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
}

/// The symbols, and the exchange that lists them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exchange")]
pub struct MarketArgs {
    /// Symbols, comma-separated, optionally with a category, such as spot:ETHUSDT [default: BTCUSDT,ETHUSDT]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<String>,
    /// Categories, comma-separated: linear, spot or inverse [default: linear]
    #[arg(long, value_name = "CATEGORIES")]
    pub category: Option<String>,
    /// Watch every symbol that trades on the exchange
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub load_all: Option<String>,
    /// With --load-all: watch at most N symbols of each category
    #[arg(long, value_name = "N")]
    pub symbols_limit: Option<String>,
    /// Use Bybit's test network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub testnet: Option<String>,
    /// Base URL of the WebSocket streams, in place of Bybit's
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<String>,
    /// Base URL of the REST API, in place of Bybit's
    #[arg(long, value_name = "URL")]
    pub rest_url: Option<String>,
}

/// How klines are made.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Klines")]
pub struct KlineArgs {
    /// Intervals, comma-separated, each a number and ms, s, m, h, D, W or M [default: 1m,5m,1h]
    #[arg(long, value_name = "INTERVALS")]
    pub intervals: Option<String>,
    /// Opening price of a kline: previous-close or first-trade [default: previous-close]
    #[arg(long, value_name = "RULE")]
    pub open: Option<String>,
    /// Emit flat klines for windows without trades: true (intervals from 1s up), false or all [default: true]
    #[arg(long, value_name = "WHICH")]
    pub fill: Option<String>,
    /// Shortest time between two updates of an open kline; 0s sends every change [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub update_interval: Option<String>,
}

/// What is logged.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Lowest level that is logged: trace, debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Format of the log: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// The flags of the commands that read the whole configuration, as `klines run` does.
#[derive(Args, Clone, Debug, Default)]
pub struct SourceArgs {
    /// Where the configuration is read from.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The symbols and the exchange.
    #[command(flatten)]
    pub market: MarketArgs,
    /// How klines are made.
    #[command(flatten)]
    pub klines: KlineArgs,
    /// What is logged.
    #[command(flatten)]
    pub log: LogArgs,
}

impl SourceArgs {
    /// Returns the sources that the configuration is read from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        sources(&self.config, &self.market, &self.klines, &self.log)
    }
}

/// Returns the flags that were given, with their values.
fn given<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> impl Iterator<Item = (&'static str, String)> {
    flags.map(|(name, value)| value.clone().map(|value| (name, value))).into_iter().flatten()
}

/// Returns the configuration sources of this process: its environment and files, with the shared flags on top.
#[must_use]
pub fn sources(config: &ConfigArgs, market: &MarketArgs, klines: &KlineArgs, log: &LogArgs) -> Sources {
    let mut flags = Flags::new();
    flags.extend(given([
        ("--consumers", &config.consumers),
        ("--plugins-dir", &config.plugins_dir),
        ("--data-dir", &config.data_dir),
    ]));
    flags.extend(given([
        ("--symbols", &market.symbols),
        ("--category", &market.category),
        ("--load-all", &market.load_all),
        ("--symbols-limit", &market.symbols_limit),
        ("--testnet", &market.testnet),
        ("--ws-url", &market.ws_url),
        ("--rest-url", &market.rest_url),
    ]));
    flags.extend(given([
        ("--intervals", &klines.intervals),
        ("--open", &klines.open),
        ("--fill", &klines.fill),
        ("--update-interval", &klines.update_interval),
    ]));
    flags.extend(given([("--log-level", &log.log_level), ("--log-format", &log.log_format)]));
    Sources::of_process(flags, config.config.clone(), config.env_file.clone())
}
