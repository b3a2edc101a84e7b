//! The exchange enforces its limits.

use std::time::Duration;

use tokio_tungstenite::{connect_async, tungstenite};

use super::{
    client::{Client, Ending, eventually, get},
    quiet_market,
};
use crate::{Category, Limits, Side, Sim, SimConfig};

async fn limited(limits: Limits) -> Sim {
    Sim::start(SimConfig { limits, ..SimConfig::new(quiet_market()) }).await.unwrap()
}

async fn refused(sim: &Sim, category: Category) -> bool {
    match connect_async(format!("{}/v5/public/{category}", sim.ws_url())).await {
        Ok(_) => false,
        Err(tungstenite::Error::Http(response)) => response.status() == 403,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn open_connections_are_limited_for_each_category() {
    let sim = limited(Limits { connections: 1, ..Limits::default() }).await;
    let first = Client::connect(&sim, Category::Linear).await;
    assert!(refused(&sim, Category::Linear).await);
    let _spot = Client::connect(&sim, Category::Spot).await;
    drop(first);
    eventually("the first leaves", || sim.counters().open == 1).await;
    assert!(!refused(&sim, Category::Linear).await);
    assert_eq!((sim.counters().connections, sim.counters().refused), (3, 1));
}

#[tokio::test]
async fn new_connections_are_limited_in_five_minutes() {
    let sim = limited(Limits { connections_per_5_min: 2, ..Limits::default() }).await;
    drop(Client::connect(&sim, Category::Linear).await);
    drop(Client::connect(&sim, Category::Spot).await);
    assert!(refused(&sim, Category::Linear).await);
}

#[tokio::test]
async fn rest_requests_are_limited() {
    let sim = limited(Limits { requests_per_5_s: 1, ..Limits::default() }).await;
    assert_eq!(get(&sim, "/v5/market/time").await.0, 200);
    let (status, body) = get(&sim, "/v5/market/time").await;
    assert_eq!((status, body.as_str()), (403, Some("access too frequent")));
}

#[tokio::test]
async fn topics_of_a_connection_are_limited_in_length() {
    let topic = "publicTrade.ETHUSDT";
    let sim = limited(Limits { args_chars: 2 * topic.len(), ..Limits::default() }).await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    assert!(client.subscribe(&[topic, "publicTrade.BTCUSDT"]).await.contains(r#""success":true"#));
    assert!(client.subscribe(&["kline.1.ETHUSDT"]).await.contains(r#""success":false,"ret_msg":"args length >38""#));
}

#[tokio::test]
async fn a_silent_client_is_cut_without_a_close_frame() {
    let sim = limited(Limits { idle: Duration::from_millis(50), ..Limits::default() }).await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    assert_eq!(client.end().await, Ending::Reset);
    assert_eq!(sim.counters().cut_idle, 1);
    eventually("the client is gone", || sim.counters().open == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut() {
    let sim = limited(Limits { queue: 16, ..Limits::default() }).await;
    let mut client = Client::connect(&sim, Category::Linear).await;
    client.subscribe(&["publicTrade.ETHUSDT"]).await;
    // The socket buffers take some megabytes first.
    while sim.counters().cut_slow == 0 {
        for _ in 0..64 {
            sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap();
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(client.end().await, Ending::Reset);
}
