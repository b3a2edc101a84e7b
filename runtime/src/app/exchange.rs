//! From configuration to Bybit: categories with their symbols, the feeds that watch them, and who still trades.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::bybit::backoff::Pacer;
use crate::bybit::config::{AllSymbols, BybitConfig, CategoryConfig, SymbolChoice};
use crate::bybit::connect::Dialer;
use crate::bybit::driver::Uplink;
use crate::bybit::feed::Feed;
use crate::bybit::rest::RestClient;
use crate::bybit::session::Timing;
use crate::bybit::symbols::{self, Trading};
use crate::clock::LocalClock;
use crate::config::exchange::Symbols;
use crate::config::proxy::ProxyAddress;
use crate::config::{Config, Diagnostic, Report};
use crate::consumer::catalog::Catalog;
use crate::domain::feed::{FeedEvent, FeedMessage};
use crate::domain::symbol::{Category, SymbolId, SymbolTable};

/// Frames on their way to the pipeline. When it is full, sockets wait: nothing is dropped.
const INBOX: usize = 4_096;
/// How often the exchange is asked which instruments still trade.
const ASK_EVERY: Duration = Duration::from_secs(300);

/// How soon it is asked again when it did not answer.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// What the runtime asks of Bybit.
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

/// Symbols and categories in a few words.
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

/// Asks the exchange whether the configured symbols trade there.
///
/// # Errors
/// When the exchange does not answer.
pub fn check_online(config: &Config) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let wanted = wanted(config);
    let rest = rest_client(&wanted, dialer(config)?, LocalClock::start())?;
    let mut report = Report::default();
    for category in &wanted.categories {
        let SymbolChoice::Listed(listed) = &category.symbols else { continue };
        let answer = runtime.block_on(rest.instruments(category.category));
        let instruments = answer.with_context(|| format!("asking {} for its instruments", rest.shown()))?.result;
        for problem in symbols::check(category.category, listed, &instruments) {
            let place = config.place("exchange.symbols");
            let nearest = problem.nearest.as_ref().map(ToString::to_string);
            let diagnostic = Diagnostic::error(place, problem.to_string());
            report.push(diagnostic.expected("symbols that trade in their category").nearest(nearest));
        }
    }
    Ok(report)
}

/// Everything that runs on behalf of the exchange.
pub struct Market {
    /// What arrives.
    pub inbox: mpsc::Receiver<FeedMessage>,
    /// The symbols of each category.
    pub tables: Vec<(Category, Arc<SymbolTable>)>,
    /// One feed a category.
    pub feeds: Vec<Feed>,
    /// The tasks; closed when all are spawned.
    pub tracker: TaskTracker,
}

/// Resolves symbols and connects. Returns nothing when cancelled before the symbols were known.
///
/// # Errors
/// When addresses or certificates of the configuration cannot be used.
pub async fn open(
    wanted: &BybitConfig,
    dialer: Dialer,
    clock: LocalClock,
    catalog: &Arc<Catalog>,
    cancel: &CancellationToken,
) -> anyhow::Result<Option<Market>> {
    let (out, inbox) = mpsc::channel(INBOX);
    let rest = rest_client(wanted, dialer.clone(), clock)?;
    let uplink = Uplink {
        dialer,
        clock,
        pacer: Arc::new(Mutex::new(Pacer::default())),
        out: out.clone(),
        cancel: cancel.clone(),
    };
    let (mut tables, mut feeds, tracker) = (Vec::new(), Vec::new(), TaskTracker::new());
    for category in &wanted.categories {
        let Some(table) = symbols::resolve(&rest, category, cancel).await else { return Ok(None) };
        let table = Arc::new(table);
        if table.is_empty() {
            warn!(category = %category.category, "no symbol to watch");
        }
        let url = wanted.stream_url(category.category).context("the address of the stream is not usable")?;
        feeds.push(Feed::spawn(&uplink, &tracker, category.category, &url, &table, Timing::default()));
        catalog.watch(category.category, table.iter().map(|(_, symbol)| symbol.clone()));
        if catalog.wants_descriptions() {
            tracker.spawn(describe_all(rest.clone(), category.category, catalog.clone(), cancel.clone()));
        }
        tracker.spawn(keep_asking(rest.clone(), category.clone(), table.clone(), out.clone(), cancel.clone()));
        tables.push((category.category, table));
    }
    tracker.close();
    Ok(Some(Market { inbox, tables, feeds, tracker }))
}

/// Asks the exchange once how it describes its instruments, as often as it takes.
async fn describe_all(rest: RestClient, category: Category, catalog: Arc<Catalog>, cancel: CancellationToken) {
    let asking = async {
        loop {
            match rest.descriptions(category).await {
                Ok(rows) => return catalog.describe(category, rows),
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = asking => {}
    }
}

/// Warns of symbols that do not exist, then watches for instruments that end.
async fn keep_asking(
    rest: RestClient,
    category: CategoryConfig,
    table: Arc<SymbolTable>,
    out: mpsc::Sender<FeedMessage>,
    cancel: CancellationToken,
) {
    let asking = async {
        let told = category.category;
        symbols::check_in_background(rest.clone(), category.clone(), cancel.clone()).await;
        let mut ended: Vec<SymbolId> = Vec::new();
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let Ok(answer) = rest.instruments(told).await else { continue };
            for (id, symbol) in table.iter() {
                let found = answer.result.iter().find(|instrument| instrument.symbol == *symbol);
                let trades = found.is_some_and(|instrument| instrument.trading == Trading::Open);
                if trades || ended.contains(&id) || answer.result.is_empty() {
                    continue;
                }
                info!(category = %told, %symbol, "instrument no longer trades");
                ended.push(id);
                let event = FeedEvent::Ended { symbol: id, at: answer.received };
                let message = FeedMessage::of_category(told, answer.received, vec![event]);
                if out.send(message).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = asking => {}
    }
}

fn rest_client(wanted: &BybitConfig, dialer: Dialer, clock: LocalClock) -> anyhow::Result<RestClient> {
    let base = wanted.rest_base().context("the address of the REST interface is not usable")?;
    Ok(RestClient::new(dialer, clock, base))
}

/// Opens connections through the configured proxies, from whichever layer they come.
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
