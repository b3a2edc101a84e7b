//! Replays a recording through the whole exchange.

use super::client::{Client, get};
use crate::{Category, Market, Recording, Sim, SimConfig, Times};

const START: i64 = 1_786_310_819_000;
/// Frames come every 100 ms for two minutes: long enough for any client to join in the middle.
const FRAMES: i64 = 1_200;

fn kline(ts: i64) -> String {
    format!(
        r#"{{"topic":"kline.1.ETHUSDT","data":[{{"start":1786310760000,"end":1786310819999,"interval":"1","open":"1922.43","close":"1922.48","high":"1922.48","low":"1922.42","volume":"15.7","turnover":"30182.0724","confirm":false,"timestamp":{ts}}}],"ts":{ts},"type":"snapshot"}}"#
    )
}

fn ticker(n: i64) -> String {
    let ts = START + n * 100;
    format!(r#"{{"topic":"tickers.ETHUSDT","type":"delta","data":{{"symbol":"ETHUSDT"}},"cs":{n},"ts":{ts}}}"#)
}

fn trade(n: i64) -> String {
    let ts = START + n * 100;
    format!(
        r#"{{"topic":"publicTrade.ETHUSDT","type":"snapshot","ts":{ts},"data":[{{"T":{ts},"s":"ETHUSDT","S":"Buy","v":"0.02","p":"1922.52","L":"PlusTick","i":"a519448f-56e5-58e6-90a1-{n:012}","BT":false,"RPI":false,"seq":{n}}}]}}"#
    )
}

#[tokio::test]
async fn recorded_frames_are_forwarded_unchanged() {
    let frames = (0..FRAMES).flat_map(|n| [ticker(n), trade(n)]);
    let lines: Vec<String> = std::iter::once(kline(START)).chain(frames).collect();
    let path = std::env::temp_dir().join(format!("bybit-sim-{}-replay", std::process::id()));
    std::fs::write(&path, lines.join("\n")).unwrap();
    let recording = Recording::read(&path, Category::Linear).unwrap().with_times(Times::Kept);
    std::fs::remove_file(&path).unwrap();

    let sim = Sim::start(SimConfig::new(Market::recorded(recording))).await.unwrap();
    let mut client = Client::connect(&sim, Category::Linear).await;
    assert!(client.subscribe(&["kline.5.NOPEUSDT"]).await.contains("handler not found"));
    let ack = client.subscribe(&["kline.1.ETHUSDT", "tickers.ETHUSDT", "publicTrade.ETHUSDT"]).await;
    assert!(ack.contains(r#""success":true"#), "{ack}");
    // The kline frame was replayed before the subscription, so it arrives as the last push.
    assert_eq!(client.text().await, kline(START));
    let first = client.text().await;
    let at = lines.iter().position(|line| *line == first).expect("a line of the recording");
    for expected in &lines[at + 1..at + 6] {
        assert_eq!(client.text().await, *expected);
    }

    let truth = sim.trades(Category::Linear, "ETHUSDT");
    assert_eq!(truth[0].id, "a519448f-56e5-58e6-90a1-000000000000");
    assert_eq!(truth[0].time, START);
    let (_, body) = get(&sim, "/v5/market/recent-trade?category=linear&symbol=ETHUSDT&limit=1000").await;
    let rows = body["result"]["list"].as_array().unwrap();
    assert_eq!(rows.last().unwrap()["time"], serde_json::json!(START.to_string()));
    let (_, time) = get(&sim, "/v5/market/time").await;
    let time = time["time"].as_i64().unwrap();
    assert!((START..START + FRAMES * 100).contains(&time), "the clock shows the recording's time: {time}");
}
