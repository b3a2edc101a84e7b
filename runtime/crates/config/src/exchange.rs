//! `[exchange]`: which symbols are watched, and on which exchange.

mod feed_count;
mod listing;

use std::num::NonZeroU32;

use klines_domain::symbol::{Category, Symbol};
use url::Url;

pub use self::feed_count::FeedCount;
pub use self::listing::{Listing, SymbolChoice};
use super::loader::{Key, Loader, Section, Sourced};
use super::value::WebAddress;

const CATEGORIES: Key = Key::new("categories").variable("BYBIT_CATEGORY").flag("--category");
const SYMBOLS: Key = Key::new("symbols").variable("BYBIT_SYMBOLS").flag("--symbols");
const LOAD_ALL: Key = Key::new("load_all").variable("BYBIT_LOAD_ALL_SYMBOLS").flag("--load-all");
const SYMBOLS_LIMIT: Key = Key::new("symbols_limit").variable("BYBIT_SYMBOLS_LIMIT").flag("--symbols-limit");
const QUOTE: Key = Key::new("quote");
const DATED: Key = Key::new("dated");
const FEEDS: Key = Key::new("feeds").variable("BYBIT_FEEDS");
const TESTNET: Key = Key::new("testnet").variable("BYBIT_TESTNET").flag("--testnet");
const WS_URL: Key = Key::new("ws_url").variable("BYBIT_WS_URL").flag("--ws-url");
const REST_URL: Key = Key::new("rest_url").variable("BYBIT_REST_URL").flag("--rest-url");

/// Which symbols are watched, and on which exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The categories that have symbols to watch. Never empty; the first is the main one.
    pub categories: Vec<Category>,
    /// The symbols to watch.
    pub symbols: Symbols,
    /// How many connections carry each set of topics. Default: 2.
    pub feeds: FeedCount,
    /// Whether Bybit's test network is used instead of the real exchange. Default: no.
    pub testnet: bool,
    /// Base address of the public WebSocket streams, without `/v5/…`. `None` means the address of Bybit.
    pub ws_url: Option<Url>,
    /// Base address of the REST interface, without `/v5/…`. `None` means the address of Bybit.
    pub rest_url: Option<Url>,
}

/// Which symbols are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Symbols {
    /// The listed symbols; never empty, without duplicates.
    Listed(Vec<Listing>),
    /// All symbols that the exchange trades in the configured categories and that pass the filter.
    All(Filter),
}

/// Selects among all symbols with the status Trading, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The largest number of symbols in each category. `None` means no limit.
    pub limit: Option<NonZeroU32>,
    /// The quote coins that a symbol may have; never empty. Default: USDT.
    pub quote: Vec<Symbol>,
    /// Whether dated futures are watched in addition to perpetuals. Default: no.
    pub dated: bool,
}

impl Exchange {
    pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Self {
        let categories = loader.read(section, CATEGORIES, vec![Category::default()]);
        let categories = loader.unique(categories, ToString::to_string);
        loader.not_empty(&categories, "category");
        let symbols = loader.read(section, SYMBOLS, listing::defaults(&categories.value));
        let load_all = loader.read(section, LOAD_ALL, false);
        let filter = read_filter(loader, section);
        let feeds = loader.read(section, FEEDS, FeedCount::default()).value;
        let testnet = loader.read(section, TESTNET, false).value;
        let ws_url: Option<Sourced<WebAddress<true>>> = loader.read_optional(section, WS_URL);
        let rest_url: Option<Sourced<WebAddress<false>>> = loader.read_optional(section, REST_URL);
        if let (Some(ws_url), None) = (&ws_url, &rest_url) {
            let message = "ws_url is set but rest_url is not: trades and symbols come from different exchanges";
            loader.report.push(ws_url.warning(message));
        }
        let (categories, symbols) = if load_all.value {
            if symbols.is_set() {
                let message = "symbols are ignored, because all are loaded (load_all)";
                loader.report.push(symbols.warning(message));
            }
            (categories.value, Symbols::All(filter))
        } else {
            let listings = listing::expand(loader, symbols, &categories.value);
            (listing::categories(&listings, &categories.value), Symbols::Listed(listings))
        };
        let (ws_url, rest_url) = (ws_url.map(|url| url.value.0), rest_url.map(|url| url.value.0));
        Self { categories, symbols, feeds, testnet, ws_url, rest_url }
    }
}

fn read_filter(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Filter {
    let limit = loader.read_optional(section, SYMBOLS_LIMIT).map(|limit| limit.value);
    let quote = loader.read(section, QUOTE, Symbol::new("USDT").into_iter().collect());
    let quote = loader.unique(quote, ToString::to_string);
    loader.not_empty(&quote, "coin");
    let dated = loader.read(section, DATED, false).value;
    Filter { limit, quote: quote.value, dated }
}
