//! The addresses of Bybit and the wanted symbols. Other crates read them from files.

use klines_domain::symbol::{Category, Symbol};
use url::Url;

use super::topic;

/// The user agent of this program.
pub const AGENT: &str = concat!("klines/", env!("CARGO_PKG_VERSION"));

const WS_MAINNET: &str = "wss://stream.bybit.com";
const WS_TESTNET: &str = "wss://stream-testnet.bybit.com";
const REST_MAINNET: &str = "https://api.bybit.com";
const REST_TESTNET: &str = "https://api-testnet.bybit.com";

/// The addresses of Bybit, and the wanted categories and symbols.
#[derive(Clone, Debug, Default)]
pub struct BybitConfig {
    /// The categories, each once. The Streamer dialect, which names no category, uses the first.
    pub categories: Vec<CategoryConfig>,
    /// Base address of the public streams, `ws` or `wss`, instead of Bybit's.
    pub ws_url: Option<Url>,
    /// Base address of the market endpoints, `http` or `https`, instead of Bybit's.
    pub rest_url: Option<Url>,
    /// Whether to use Bybit's test network instead of the real one, if no address is set.
    pub testnet: bool,
}

/// One category and its symbols.
#[derive(Clone, Debug)]
pub struct CategoryConfig {
    /// The category.
    pub category: Category,
    /// Its symbols.
    pub symbols: SymbolChoice,
}

/// How symbols are chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SymbolChoice {
    /// These symbols, in this order.
    Listed(Vec<Symbol>),
    /// All symbols that trade and pass the filter, sorted by name.
    All(AllSymbols),
}

/// Filter on all symbols of a category.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllSymbols {
    /// Wanted quote coins; empty means USDT, on inverse USD.
    pub quote: Vec<String>,
    /// Whether to include dated futures in addition to perpetuals.
    pub dated: bool,
    /// Maximum number of symbols; the first by name are chosen.
    pub limit: Option<usize>,
}

impl BybitConfig {
    /// Returns the address of a category's public stream.
    ///
    /// A base address that ends in the path of a stream, as copied from Bybit's documentation, is used without that
    /// path.
    #[must_use]
    pub fn stream_url(&self, category: Category) -> Option<Url> {
        let official = if self.testnet { WS_TESTNET } else { WS_MAINNET };
        let mut url = self.ws_url.clone().or_else(|| Url::parse(official).ok())?;
        let path = url.path().trim_end_matches('/');
        let base = path.split_once("/v5/public").map_or(path, |(base, _)| base);
        let path = format!("{base}{}", topic::path(category));
        url.set_path(&path);
        Some(url)
    }

    /// Returns the base address of the market endpoints.
    #[must_use]
    pub fn rest_base(&self) -> Option<Url> {
        let official = if self.testnet { REST_TESTNET } else { REST_MAINNET };
        self.rest_url.clone().or_else(|| Url::parse(official).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(base: Option<&str>, testnet: bool) -> String {
        let ws_url = base.map(|base| Url::parse(base).unwrap());
        BybitConfig { ws_url, testnet, ..BybitConfig::default() }.stream_url(Category::Spot).unwrap().into()
    }

    #[test]
    fn addresses_are_bybits_by_default() {
        assert_eq!(stream(None, false), "wss://stream.bybit.com/v5/public/spot");
        assert_eq!(stream(None, true), "wss://stream-testnet.bybit.com/v5/public/spot");
        let config = BybitConfig::default();
        assert_eq!(config.rest_base().unwrap().as_str(), "https://api.bybit.com/");
    }

    #[test]
    fn a_stream_address_with_or_without_its_path_is_a_base() {
        for base in ["ws://localhost:9000", "ws://localhost:9000/", "ws://localhost:9000/v5/public/linear"] {
            assert_eq!(stream(Some(base), true), "ws://localhost:9000/v5/public/spot");
        }
        assert_eq!(
            stream(Some("wss://relay.example/bybit?key=k"), false),
            "wss://relay.example/bybit/v5/public/spot?key=k"
        );
    }
}
