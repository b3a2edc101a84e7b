//! Topic names, stream paths, and how many topics fit on a connection and into a frame. No I/O.

use std::fmt::Display;

use klines_domain::symbol::{Category, Symbol};

/// Bybit's limit on the `args` of all subscriptions of one connection, in characters.
pub const MAX_ARGS_CHARS: usize = 21_000;
/// The part of it that every connection reserves for the canary topic, see `session::canary`.
const RESERVED: usize = 32;
/// Quotes and comma of one element, because Bybit does not say whether the limit includes the array's punctuation.
const PUNCTUATION: usize = 3;
/// Maximum args of a spot frame; Bybit refuses more (`args size >10`).
const SPOT_ARGS_PER_FRAME: usize = 10;
/// The other categories have no limit. Frames are kept small, because one bad topic causes the refusal of its frame.
const ARGS_PER_FRAME: usize = 50;

/// Returns the topic of a symbol's public trades.
#[must_use]
pub fn trades(symbol: &impl Display) -> String {
    format!("publicTrade.{symbol}")
}

/// Returns the symbol of a category that trades more often than any other.
#[must_use]
pub const fn busiest(category: Category) -> &'static str {
    match category {
        Category::Linear | Category::Spot => "BTCUSDT",
        Category::Inverse => "BTCUSD",
    }
}

/// Returns the path of a category's public stream.
#[must_use]
pub fn path(category: Category) -> String {
    format!("/v5/public/{category}")
}

/// Returns how many topics one subscribe frame of a category holds.
#[must_use]
pub const fn args_per_frame(category: Category) -> usize {
    match category {
        Category::Spot => SPOT_ARGS_PER_FRAME,
        Category::Linear | Category::Inverse => ARGS_PER_FRAME,
    }
}

/// Distributes symbols over connections, in order, with as many on each as the limit on `args` allows.
pub fn pack<T>(symbols: impl IntoIterator<Item = T>, name: impl Fn(&T) -> &Symbol) -> Vec<Vec<T>> {
    let mut connections = Vec::new();
    let mut room = 0;
    for symbol in symbols {
        let cost = trades(name(&symbol)).len() + PUNCTUATION;
        match connections.last_mut() {
            Some(connection) if cost <= room => Vec::push(connection, symbol),
            _ => {
                connections.push(vec![symbol]);
                room = MAX_ARGS_CHARS - RESERVED;
            }
        }
        room -= cost;
    }
    connections
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_and_paths_have_bybits_form() {
        assert_eq!(trades(&Symbol::new("BTC-24MAR23").unwrap()), "publicTrade.BTC-24MAR23");
        assert_eq!(Category::ALL.map(path), ["/v5/public/linear", "/v5/public/spot", "/v5/public/inverse"]);
    }

    #[test]
    fn the_busiest_topic_fits_into_the_reserved_part() {
        for category in Category::ALL {
            assert!(trades(&busiest(category)).len() + PUNCTUATION <= RESERVED);
        }
    }

    #[test]
    fn all_linear_perpetuals_fit_on_one_connection() {
        let names: Vec<Symbol> = (0..886).map(|n| Symbol::new(&format!("S{n:03}USDT")).unwrap()).collect();
        assert_eq!(pack(names, |name| name).len(), 1);
    }

    proptest! {
        #[test]
        fn every_symbol_is_packed_once_in_order_within_the_limit(
            names in proptest::collection::vec("[A-Z0-9-]{1,64}", 0..1_500),
        ) {
            let names: Vec<Symbol> = names.iter().map(|name| Symbol::new(name).unwrap()).collect();
            let packed = pack(names.iter(), |name| name);
            for connection in &packed {
                let args: Vec<String> = connection.iter().map(trades).collect();
                prop_assert!(serde_json::to_string(&args).unwrap().len() <= MAX_ARGS_CHARS - RESERVED + 1);
            }
            // No connection could have taken the first topic of the next one.
            for pair in packed.windows(2) {
                let chars: usize = pair[0].iter().map(|name| trades(name).len() + 3).sum();
                prop_assert!(chars + trades(pair[1][0]).len() + 3 > MAX_ARGS_CHARS - RESERVED);
            }
            prop_assert_eq!(packed.concat(), names.iter().collect::<Vec<_>>());
        }
    }
}
