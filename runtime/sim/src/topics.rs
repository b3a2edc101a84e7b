//! Parses stream topics. Does not know which symbols exist.

use crate::interval::Interval;

/// A topic that a client may subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic<'a> {
    Trade { symbol: &'a str },
    Kline { interval: Interval, symbol: &'a str },
    Other,
}

impl<'a> Topic<'a> {
    pub fn parse(text: &'a str) -> Self {
        // Symbols hold no dots.
        let mut parts = text.split('.');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("publicTrade"), Some(symbol), None, None) => Self::Trade { symbol },
            (Some("kline"), Some(code), Some(symbol), None) => {
                Interval::from_code(code).map_or(Self::Other, |interval| Self::Kline { interval, symbol })
            }
            _ => Self::Other,
        }
    }
}

/// Returns the symbol of any topic: the text after the last dot.
pub(crate) fn symbol_of(topic: &str) -> &str {
    topic.rsplit('.').next().unwrap_or(topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_distinguished() {
        assert_eq!(Topic::parse("publicTrade.BTCUSDT-21FEB25"), Topic::Trade { symbol: "BTCUSDT-21FEB25" });
        assert_eq!(Topic::parse("kline.D.ETHUSDT"), Topic::Kline { interval: Interval::Day, symbol: "ETHUSDT" });
        for other in ["kline.2.ETHUSDT", "kline.1", "publicTrade", "publicTrade.A.B", "orderbook.50.ETHUSDT", ""] {
            assert_eq!(Topic::parse(other), Topic::Other, "{other}");
        }
        assert_eq!(symbol_of("orderbook.50.ETHUSDT"), "ETHUSDT");
    }
}
