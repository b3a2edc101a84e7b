//! Tests the selection and the check of symbols, without a network.

use super::*;

fn instrument(name: &str, quote: &str, is_dated: bool, trading: Trading) -> Instrument {
    Instrument {
        symbol: Symbol::new(name).unwrap(),
        category: Category::Linear,
        tick: Decimal::new(1, 1),
        quote: quote.to_owned(),
        is_dated,
        trading,
    }
}

fn market() -> Vec<Instrument> {
    vec![
        instrument("SOLUSDT", "USDT", false, Trading::Open),
        instrument("BTCUSDT", "USDT", false, Trading::Open),
        instrument("BTCPERP", "USDC", false, Trading::Open),
        instrument("BTCUSDT-26DEC25", "USDT", true, Trading::Open),
        instrument("ETHUSDT", "USDT", false, Trading::Open),
        instrument("NEWUSDT", "USDT", false, Trading::PreLaunch),
        instrument("BTCUSD", "USD", false, Trading::Open),
    ]
}

fn chosen(category: Category, all: &AllSymbols) -> Vec<String> {
    select(category, all, &market()).iter().map(ToString::to_string).collect()
}

#[test]
fn all_symbols_are_trading_perpetuals_in_usdt_by_name_up_to_the_limit() {
    assert_eq!(chosen(Category::Linear, &AllSymbols::default()), ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    let two = AllSymbols { limit: Some(2), ..AllSymbols::default() };
    assert_eq!(chosen(Category::Linear, &two), ["BTCUSDT", "ETHUSDT"]);
}

#[test]
fn quote_coins_and_dated_futures_extend_the_selection() {
    let wide = AllSymbols { quote: vec!["USDT".into(), "USDC".into()], dated: true, limit: None };
    assert_eq!(chosen(Category::Linear, &wide), ["BTCPERP", "BTCUSDT", "BTCUSDT-26DEC25", "ETHUSDT", "SOLUSDT"]);
}

#[test]
fn inverse_is_quoted_in_usd() {
    assert_eq!(chosen(Category::Inverse, &AllSymbols::default()), ["BTCUSD"]);
}

#[test]
fn the_most_similar_symbol_is_suggested_for_a_wrong_name() {
    let listed = ["BTCUSDT", "BTCUDST", "ETHUSD", "QQQ", "NEWUSDT"].map(|name| Symbol::new(name).unwrap());
    let messages: Vec<String> = check(Category::Linear, &listed, &market()).iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "BTCUDST does not trade on linear: did you mean BTCUSDT?",
            "ETHUSD does not trade on linear: did you mean ETHUSDT?",
            "QQQ does not trade on linear",
            "NEWUSDT exists on linear but does not trade now",
        ]
    );
}
