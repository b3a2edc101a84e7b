//! Every fault has its documented effect, and ends.

use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpStream;

use super::{
    client::{Client, Ending, eventually, get},
    quiet, quiet_market,
};
use crate::{Category, Fault, Garbage, Script, Side, Sim, SimConfig};

const TOPIC: &str = "publicTrade.ETHUSDT";

async fn subscriber(sim: &Sim, category: Category) -> Client {
    let mut client = Client::connect(sim, category).await;
    client.subscribe(&[TOPIC]).await;
    client
}

/// Executes one linear trade and returns its id.
fn trade(sim: &Sim) -> String {
    sim.trade(Category::Linear, "ETHUSDT", Side::Buy, "1922.5", "0.1").unwrap().id
}

fn ids(frames: &[String]) -> Vec<String> {
    let id = |frame: &String| {
        let value: Value = serde_json::from_str(frame).unwrap();
        value["data"][0]["i"].as_str().unwrap().to_owned()
    };
    frames.iter().map(id).collect()
}

#[tokio::test]
async fn drop_resets_the_connections_of_its_category_and_the_market_continues() {
    let sim = quiet().await;
    let mut linear = subscriber(&sim, Category::Linear).await;
    let mut spot = subscriber(&sim, Category::Spot).await;
    sim.inject(Fault::Drop.on(Category::Linear));
    assert_eq!(linear.end().await, Ending::Reset);
    assert!(spot.ask(r#"{"op":"ping"}"#).await.contains("pong"));
    let missed = trade(&sim);
    let mut again = subscriber(&sim, Category::Linear).await;
    let seen = trade(&sim);
    assert_eq!(ids(&again.frames_until_pong().await), std::slice::from_ref(&seen));
    let truth: Vec<String> = sim.trades(Category::Linear, "ETHUSDT").into_iter().map(|trade| trade.id).collect();
    assert_eq!(truth, [missed, seen]);
}

#[tokio::test]
async fn drop_oldest_resets_one_connection_of_its_category() {
    let sim = quiet().await;
    let mut first = subscriber(&sim, Category::Linear).await;
    let mut second = subscriber(&sim, Category::Linear).await;
    let mut spot = subscriber(&sim, Category::Spot).await;
    sim.inject(Fault::DropOldest.on(Category::Linear));
    assert_eq!(first.end().await, Ending::Reset);
    assert!(spot.ask(r#"{"op":"ping"}"#).await.contains("pong"));
    let seen = trade(&sim);
    assert_eq!(ids(&second.frames_until_pong().await), [seen]);
    sim.inject(Fault::DropOldest.on(Category::Linear));
    assert_eq!(second.end().await, Ending::Reset);
}

#[tokio::test]
async fn a_stall_answers_nothing_and_delivers_afterwards() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Stall.on(Category::Linear));
    let delayed = trade(&sim);
    client.send(r#"{"op":"ping"}"#).await;
    // The absence of a frame has no event to wait for; a frame would arrive within a millisecond.
    assert!(tokio::time::timeout(Duration::from_millis(100), client.next()).await.is_err());
    assert_eq!(sim.counters().pings, 0);
    sim.heal();
    assert_eq!(ids(&client.frames_until_pong().await), [delayed]);
    eventually("the late ping is read", || sim.counters().pings == 2).await;
}

#[tokio::test]
async fn mute_answers_pings_and_loses_the_data() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Mute);
    trade(&sim);
    assert!(client.frames_until_pong().await.is_empty());
    sim.heal();
    let after = trade(&sim);
    assert_eq!(ids(&client.frames_until_pong().await), [after]);
}

#[tokio::test]
async fn a_dead_topic_is_alive_again_for_who_subscribes_again() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::DeadTopic("BTCUSDT".to_owned()).on(Category::Linear));
    let seen = trade(&sim);
    assert_eq!(ids(&client.frames_until_pong().await), [seen], "another topic goes on");
    sim.inject(Fault::DeadTopic("ETHUSDT".to_owned()).on(Category::Linear));
    trade(&sim);
    assert!(client.frames_until_pong().await.is_empty());
    for op in ["unsubscribe", "subscribe"] {
        client.ask(&format!(r#"{{"op":"{op}","args":["{TOPIC}"]}}"#)).await;
    }
    let after = trade(&sim);
    assert_eq!(ids(&client.frames_until_pong().await), [after]);
}

#[tokio::test]
async fn reorder_lets_frames_overtake_each_other_and_loses_none() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Reorder(Duration::from_millis(50)));
    let sent: Vec<String> = (0..100).map(|_| trade(&sim)).collect();
    let mut frames = Vec::new();
    for _ in 0..100 {
        frames.push(client.text().await);
    }
    let got = ids(&frames);
    assert_ne!(got, sent);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(got), sorted(sent));
    // Even with this fault, no data follows the ack of an unsubscribe.
    (0..20).for_each(|_| drop(trade(&sim)));
    client.send(&format!(r#"{{"op":"unsubscribe","args":["{TOPIC}"]}}"#)).await;
    while !client.text().await.contains(r#""op":"unsubscribe""#) {}
    assert!(client.frames_until_pong().await.is_empty());
}

#[tokio::test]
async fn duplicate_sends_every_frame_twice() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Duplicate);
    let id = trade(&sim);
    let frames = client.frames_until_pong().await;
    assert_eq!(frames[0], frames[1]);
    assert_eq!(ids(&frames), [id.clone(), id]);
}

#[tokio::test]
async fn garbage_is_invalid_json_half_a_frame_or_an_invalid_price() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    for kind in [Garbage::NotJson, Garbage::Truncated, Garbage::BadPrice] {
        sim.inject(Fault::Garbage(kind));
    }
    let frames = client.frames_until_pong().await;
    assert_eq!(frames.len(), 3);
    assert!(frames[0].starts_with("<html>"));
    assert!(frames[1].starts_with(r#"{"topic":"publicTrade.ETHUSDT","type":"snapshot""#));
    assert!(serde_json::from_str::<Value>(&frames[1]).is_err());
    let bad: Value = serde_json::from_str(&frames[2]).unwrap();
    assert!(bad["data"][0]["p"].as_str().unwrap().parse::<f64>().is_err());
    assert!(sim.trades(Category::Linear, "ETHUSDT").is_empty());
}

#[tokio::test]
async fn refuse_rejects_new_subscriptions_and_keeps_existing_ones() {
    let sim = quiet().await;
    let mut before = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Refuse("ETHUSDT".to_owned()).on(Category::Linear));
    let mut after = Client::connect(&sim, Category::Linear).await;
    let refused = after.subscribe(&["publicTrade.BTCUSDT", TOPIC]).await;
    assert!(refused.contains("error:handler not found,topic:publicTrade.ETHUSDT"), "{refused}");
    subscriber(&sim, Category::Spot).await;
    trade(&sim);
    assert_eq!(before.frames_until_pong().await.len(), 1);
}

#[tokio::test]
async fn slow_delivers_every_frame_until_a_full_queue_cuts_the_client() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Slow(Duration::from_millis(5)));
    let sent: Vec<String> = (0..5).map(|_| trade(&sim)).collect();
    assert_eq!(ids(&client.frames_until_pong().await), sent);
    (0..20_000).for_each(|_| drop(trade(&sim)));
    assert_eq!(client.end().await, Ending::Reset);
    assert_eq!(sim.counters().cut_slow, 1);
}

#[tokio::test]
async fn a_delisted_symbol_sends_nothing_and_is_unknown_to_new_subscribers() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Delist("ETHUSDT".to_owned()).on(Category::Linear));
    assert!(client.frames_until_pong().await.is_empty());
    let mut late = Client::connect(&sim, Category::Linear).await;
    assert!(late.subscribe(&[TOPIC]).await.contains("handler not found"));
    sim.inject(Fault::List("ETHUSDT".to_owned()));
    let id = trade(&sim);
    assert_eq!(ids(&client.frames_until_pong().await), [id]);
}

#[tokio::test]
async fn down_stops_streams_and_rest_and_both_return_on_the_same_port() {
    let sim = quiet().await;
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.inject(Fault::Down);
    assert_eq!(client.end().await, Ending::Reset);
    let refused = async {
        while TcpStream::connect(sim.addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), refused).await.unwrap();
    let missed = trade(&sim);
    sim.heal();
    let back = async {
        while TcpStream::connect(sim.addr()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    subscriber(&sim, Category::Linear).await;
    let (_, body) = get(&sim, "/v5/market/recent-trade?category=linear&symbol=ETHUSDT").await;
    assert_eq!(body["result"]["list"][0]["execId"], Value::String(missed));
}

#[tokio::test]
async fn a_cut_resets_streams_and_refuses_new_ones_while_rest_and_market_go_on() {
    let sim = quiet().await;
    let mut linear = subscriber(&sim, Category::Linear).await;
    let mut spot = subscriber(&sim, Category::Spot).await;
    sim.inject(Fault::Cut.on(Category::Linear));
    assert_eq!(linear.end().await, Ending::Reset);
    let url = format!("{}/v5/public/linear", sim.ws_url());
    assert!(tokio_tungstenite::connect_async(&url).await.is_err());
    assert!(spot.ask(r#"{"op":"ping"}"#).await.contains("pong"));
    let missed = trade(&sim);
    let path = "/v5/market/recent-trade?category=linear&symbol=ETHUSDT";
    assert_eq!(get(&sim, path).await.1["result"]["list"][0]["execId"], Value::String(missed));
    assert_eq!((sim.counters().connections, sim.counters().refused), (2, 0));
    sim.heal();
    let mut again = subscriber(&sim, Category::Linear).await;
    let id = trade(&sim);
    assert_eq!(ids(&again.frames_until_pong().await), [id]);
}

#[tokio::test]
async fn a_script_runs_by_itself_and_its_faults_end() {
    let script = "at 0ms refuse ETHUSDT spot\nat 0ms mute 50ms linear\nat 60ms list NEWUSDT\n";
    let script = Script::parse(script).unwrap();
    let sim = Sim::start(SimConfig { script, ..SimConfig::new(quiet_market()) }).await.unwrap();
    let mut spot = Client::connect(&sim, Category::Spot).await;
    assert!(spot.subscribe(&[TOPIC]).await.contains("Invalid symbol"));
    eventually("the symbol is listed", || sim.trade(Category::Linear, "NEWUSDT", Side::Buy, "1922.5", "1").is_some())
        .await;
    let mut client = subscriber(&sim, Category::Linear).await;
    let id = trade(&sim);
    assert_eq!(ids(&client.frames_until_pong().await), [id], "the mute is over");
}

#[tokio::test]
async fn an_exchange_can_be_stopped_and_started_on_its_port() {
    let sim = quiet().await;
    let address = sim.addr();
    let mut client = subscriber(&sim, Category::Linear).await;
    sim.stop().await;
    assert_eq!(client.end().await, Ending::Reset);
    let again = Sim::start(SimConfig { listen: address, ..SimConfig::new(quiet_market()) }).await.unwrap();
    assert_eq!(again.addr(), address);
    subscriber(&again, Category::Linear).await;
    drop(again);
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
