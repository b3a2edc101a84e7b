//! Tests of the whole exchange over real sockets.

mod client;
mod faults;
mod history;
mod klines;
mod limits;
mod listing;
mod replay;
mod rest;
mod rest_faults;
mod settling;
mod streams;

use crate::{Activity, Category, Instrument, Market, Sim, SimConfig};

/// Returns an instrument that does not trade by itself.
fn still(category: Category, symbol: &str) -> Instrument {
    let (price, tick, step) = match category {
        Category::Linear => ("1922.50", "0.01", "0.01"),
        Category::Spot => ("1923.3", "0.1", "0.00001"),
        Category::Inverse => ("64250.0", "0.50", "1"),
    };
    Instrument::new(category, symbol, price, tick, step).unwrap().with_activity(Activity::Still)
}

fn quiet_market() -> Market {
    Market::seeded(
        1,
        vec![
            still(Category::Linear, "ETHUSDT"),
            still(Category::Linear, "BTCUSDT"),
            still(Category::Linear, "NEWUSDT").unlisted(),
            still(Category::Spot, "ETHUSDT"),
            still(Category::Inverse, "BTCUSD"),
        ],
    )
}

/// Starts an exchange that does nothing unless the test asks for it.
async fn quiet() -> Sim {
    Sim::start(SimConfig::new(quiet_market())).await.unwrap()
}
