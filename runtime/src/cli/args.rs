//! Flags that several commands share, and how they become the configuration's highest layer.

use std::path::PathBuf;

use clap::Args;
use klines_config::{Flags, Sources};

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// TOML file [default: klines.toml, if it is there; variable KLINES_CONFIG]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// File of variables [default: .env, if it is there]
    #[arg(long, value_name = "PATH")]
    pub env_file: Option<PathBuf>,
    /// Who gets klines, comma-separated [default: console]
    #[arg(long, value_name = "NAMES")]
    pub consumers: Option<String>,
    /// Folder of component files [default: plugins]
    #[arg(long, value_name = "PATH")]
    pub plugins_dir: Option<String>,
    /// Folder for what klines keeps [default: klines-data]
    #[arg(long, value_name = "PATH")]
    pub data_dir: Option<String>,
}

/// What is watched, and where.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Exchange")]
pub struct MarketArgs {
    /// Symbols, comma-separated; spot:ETHUSDT names the category of one [default: BTCUSDT,ETHUSDT]
    #[arg(long, value_name = "SYMBOLS")]
    pub symbols: Option<String>,
    /// Categories, comma-separated: linear, spot, inverse [default: linear]
    #[arg(long, value_name = "CATEGORIES")]
    pub category: Option<String>,
    /// Watch every symbol that the exchange trades
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub load_all: Option<String>,
    /// With --load-all: at most so many symbols of each category
    #[arg(long, value_name = "N")]
    pub symbols_limit: Option<String>,
    /// Use Bybit's test network
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub testnet: Option<String>,
    /// Base address of another exchange's WebSocket streams
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<String>,
    /// Base address of another exchange's REST interface
    #[arg(long, value_name = "URL")]
    pub rest_url: Option<String>,
}

/// How klines are made.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Klines")]
pub struct HistoryArgs {
    /// Intervals, comma-separated: a number and ms, s, m, h, D, W or M [default: 1m,5m,1h]
    #[arg(long, value_name = "INTERVALS")]
    pub intervals: Option<String>,
    /// What a kline opens with: previous-close or first-trade [default: previous-close]
    #[arg(long, value_name = "RULE")]
    pub open: Option<String>,
    /// Flat klines for windows without a trade: true (from 1s up), false or all [default: true]
    #[arg(long, value_name = "WHICH")]
    pub fill: Option<String>,
    /// Least time between two updates of an open kline; 0s sends every change [default: 1s]
    #[arg(long, value_name = "DURATION")]
    pub update_interval: Option<String>,
}

/// What is logged.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// Least important level: trace, debug, info, warn or error [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// Keeps the flags that were given.
fn given<const N: usize>(flags: [(&'static str, &Option<String>); N]) -> impl Iterator<Item = (&'static str, String)> {
    flags.map(|(name, value)| value.clone().map(|value| (name, value))).into_iter().flatten()
}

/// Makes the configuration's sources of the shared flags, for this process.
#[must_use]
pub fn sources(config: &ConfigArgs, market: &MarketArgs, history: &HistoryArgs, log: &LogArgs) -> Sources {
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
        ("--intervals", &history.intervals),
        ("--open", &history.open),
        ("--fill", &history.fill),
        ("--update-interval", &history.update_interval),
    ]));
    flags.extend(given([("--log-level", &log.log_level), ("--log-format", &log.log_format)]));
    Sources::of_process(flags, config.config.clone(), config.env_file.clone())
}
