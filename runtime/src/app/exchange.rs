//! Connects the configuration to Bybit: the requested symbols, the check that they exist, and a task that opens each
//! category and follows its symbols.

mod choices;
mod intervals;
mod members;
mod opening;
mod repairs;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use klines_bybit::config::{AllSymbols, BybitConfig, CategoryConfig, SymbolChoice};
use klines_bybit::connect::Dialer;
use klines_bybit::driver::FeedContext;
use klines_bybit::feed::FeedSettings;
use klines_bybit::instruments::Pace;
use klines_bybit::pacer::Pacer;
use klines_bybit::rest::{Gate, RestClient};
use klines_bybit::session::Timing;
use klines_bybit::symbols;
use klines_config::exchange::Symbols;
use klines_config::proxy::ProxyAddress;
use klines_config::{Config, Diagnostic, Report};
use klines_domain::feed::FeedMessage;
use klines_domain::repair::Answer;
use klines_domain::symbol::{Category, Symbol};
use klines_pipeline::CategoryUpdate;
use klines_pipeline::repair::RepairSettings;
use klines_system::clock::LocalClock;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::choices::Choices;
use self::members::{Links, Repairs};
use self::opening::Opening;
use super::cluster::share::Share;
use super::observed::Observed;
use super::queues::QueueSizer;
use klines_store::run::EarlierSymbols;

/// Capacity of the queue of feed messages for the pipeline. When it is full, the sockets wait; no message is dropped.
const INBOX: usize = 4_096;
/// Capacity of the queue of answers to the requests of repairs. When it is full, further answers wait in their tasks, of
/// which there are as many as a repair has requests on their way.
const ANSWERS: usize = 64;

/// Capacity of the queue of categories and their changes. When it is full, the task of a category waits.
const UPDATES: usize = 16;
/// The pause before a failed REST request is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Returns the categories, symbols and addresses to request from Bybit.
#[must_use]
pub fn wanted(config: &Config) -> BybitConfig {
    let exchange = &config.exchange;
    let choice = |category: Category| match &exchange.symbols {
        Symbols::Listed(listed) => {
            let own = listed.iter().filter(|listing| listing.category == category);
            SymbolChoice::Listed(own.map(|listing| listing.symbol.clone()).collect())
        }
        Symbols::All(filter) => SymbolChoice::All(AllSymbols {
            quote: filter.quote.iter().map(ToString::to_string).collect(),
            dated: filter.dated,
            limit: filter.limit.and_then(|limit| usize::try_from(limit.get()).ok()),
        }),
    };
    let categories = exchange.categories.iter();
    BybitConfig {
        categories: categories
            .map(|category| CategoryConfig { category: *category, symbols: choice(*category) })
            .collect(),
        ws_url: exchange.ws_url.clone(),
        rest_url: exchange.rest_url.clone(),
        testnet: exchange.testnet,
    }
}

/// Describes the configured symbols and categories in one line.
#[must_use]
pub fn describe(config: &Config) -> String {
    match &config.exchange.symbols {
        Symbols::Listed(listed) => {
            let names = listed.iter().map(|listing| match listing.category {
                Category::Linear => listing.symbol.to_string(),
                other => format!("{other}:{}", listing.symbol),
            });
            names.collect::<Vec<_>>().join(",")
        }
        Symbols::All(_) => {
            let names: Vec<&str> = config.exchange.categories.iter().map(|category| category.as_str()).collect();
            format!("all symbols of {}", names.join(","))
        }
    }
}

/// Warns of settings with which most gaps cannot be repaired.
#[must_use]
pub fn warnings(config: &Config) -> Report {
    let mut report = Report::default();
    if config.klines.repair > 0 && !config.klines.fit_candles() {
        let key = if config.klines.block_trades { "klines.open" } else { "klines.block_trades" };
        let message = "gaps that the recent trades do not reach stay gapped: minutes from REST open at the previous close \
                       and include block trades";
        let expected = "open = \"previous-close\" and block_trades = true, or repair = \"0s\"";
        report.push(Diagnostic::warning(config.place(key), message).expected(expected));
    }
    report
}

/// Checks with the exchange that the configured symbols trade there. Returns the problems, and all symbols that a run
/// would watch.
///
/// # Errors
/// When the exchange does not answer.
pub fn check_online(config: &Config) -> anyhow::Result<(Report, Vec<Symbol>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = wanted(config);
    let rest = rest_client(&wanted, dialer(config)?, Gate::new(LocalClock::start()))?;
    let (mut report, mut watched) = (Report::default(), Vec::new());
    for category in &wanted.categories {
        let answer = runtime.block_on(rest.instruments(category.category));
        let instruments = answer.with_context(|| format!("asking {} for its instruments", rest.redacted_url()))?.result;
        let listed = match &category.symbols {
            SymbolChoice::Listed(listed) => listed,
            SymbolChoice::All(all) => {
                watched.extend(symbols::select(category.category, all, &instruments));
                continue;
            }
        };
        watched.extend_from_slice(listed);
        for problem in symbols::check(category.category, listed, &instruments) {
            let place = config.place("exchange.symbols");
            let nearest = problem.nearest.as_ref().map(ToString::to_string);
            let diagnostic = Diagnostic::error(place, problem.to_string());
            report.push(diagnostic.expected("symbols that trade in their category").nearest(nearest));
        }
    }
    Ok((report, watched))
}

/// The running connection to the exchange.
pub struct ExchangeHandle {
    /// Messages of the feeds.
    pub inbox: mpsc::Receiver<FeedMessage>,
    /// The pipeline of each category, sent as soon as its symbols are known, and its changes.
    pub categories: mpsc::Receiver<CategoryUpdate>,
    /// Answers to the requests of repairs.
    pub answers: mpsc::Receiver<(Category, Answer)>,
    /// The tasks. Those of a category are spawned when its symbols are known, although the tracker is already closed.
    pub tracker: TaskTracker,
}

/// Opens each category in a separate task: none waits for the symbols, the REST answers or the connections of another.
/// Each one follows its choice of symbols, and a further task the intervals.
///
/// # Errors
/// When addresses or certificates of the configuration cannot be used.
pub fn open(
    config: &Config,
    observed: &Observed,
    (choices, share, mut earlier): (&Choices, &Share, EarlierSymbols),
    pace: Pace,
    cancel: &CancellationToken,
) -> anyhow::Result<ExchangeHandle> {
    let (wanted, dialer, catalog) = (wanted(config), dialer(config)?, observed.catalog.clone());
    let (out, inbox) = mpsc::channel(INBOX);
    let (updates, categories) = mpsc::channel(UPDATES);
    let (answering, answers) = mpsc::channel(ANSWERS);
    let rest = rest_client(&wanted, dialer.clone(), observed.gate.clone())?;
    let pacer = Arc::new(Mutex::new(Pacer::default()));
    let context = FeedContext { dialer, clock: observed.clock, pacer, out, cancel: cancel.clone() };
    let sizer = Arc::new(QueueSizer::new(observed, &catalog));
    let tracker = TaskTracker::new();
    let (feeds, tasks) = (observed.feeds.clone(), tracker.clone());
    let links = Links { rest, context, catalog, sizer, feeds, updates, tracker: tasks };
    let made = config.klines.intervals.clone();
    tracker.spawn(intervals::follow(choices.follow_intervals(), made, links.clone()));
    for category in wanted.categories.iter().cloned() {
        let url = wanted.stream_url(category.category).context("the address of the stream is invalid")?;
        let opening = Opening {
            settings: config.klines.settings(category.category),
            repairs: repair_settings(config).map(|settings| Repairs { settings, answers: answering.clone() }),
            feed_settings: FeedSettings { url, feeds: config.exchange.feeds.get(), timing: Timing::default() },
            choice: choices.follow(&category),
            share: share.clone(),
            earlier: earlier.remove(&category.category).unwrap_or_default(),
            config: category,
            links: links.clone(),
            pace,
        };
        tracker.spawn(opening.run());
    }
    tracker.close();
    Ok(ExchangeHandle { inbox, categories, answers, tracker })
}

/// Returns what is repaired; `None` if nothing is.
fn repair_settings(config: &Config) -> Option<RepairSettings> {
    let horizon = Some(config.klines.repair).filter(|horizon| *horizon > 0)?;
    Some(RepairSettings { horizon, candles: config.klines.fit_candles() })
}

pub(super) fn rest_client(wanted: &BybitConfig, dialer: Dialer, gate: Gate) -> anyhow::Result<RestClient> {
    let base = wanted.rest_base().context("the address of the REST API is invalid")?;
    Ok(RestClient::new(dialer, gate, base))
}

/// Returns a dialer that uses the configured proxies, from any layer of the configuration.
///
/// # Errors
/// When the certificates named by `SSL_CERT_FILE` cannot be read.
pub fn dialer(config: &Config) -> anyhow::Result<Dialer> {
    let proxy = &config.proxy;
    let address = |address: &Option<ProxyAddress>| address.as_ref().map(|address| address.0.expose().to_owned());
    let variable = |name: &str| match name {
        "ALL_PROXY" => address(&proxy.all),
        "HTTP_PROXY" => address(&proxy.http),
        "HTTPS_PROXY" => address(&proxy.https),
        "NO_PROXY" => proxy.no.clone(),
        "SSL_CERT_FILE" => std::env::var(name).ok(),
        _ => None,
    };
    Dialer::new(variable).context("reading trusted certificates")
}

#[cfg(test)]
mod tests;
