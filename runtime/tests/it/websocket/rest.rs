//! The REST calls that Bybit's clients make, and the chart page.

use klines_domain::kline::Kline;
use serde_json::{Value, json};

use super::peer::get;
use super::{KEY, Served, closed, eventually, open};

fn ask(served: &Served, target: &str) -> Value {
    let (status, body) = get(served.address, target, &format!("Authorization: Bearer {KEY}\r\n"));
    assert_eq!(status, 200, "{target}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn klines_are_paged_with_the_newest_first() {
    let served = Served::start();
    for window in 1..=5 {
        served.publish([closed("BTCUSDT", "1m", window)]);
    }
    served.publish([Kline { revision: 1, sequence: 6, trades: 9, ..closed("BTCUSDT", "1m", 2) }]);
    served.publish([Kline { sequence: 7, ..open("BTCUSDT", "1m", 6) }]);
    let target = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1";
    let starts = |more: &str| -> Vec<i64> {
        let answer = ask(&served, &format!("{target}{more}"));
        let rows = answer["result"]["list"].as_array().unwrap().clone();
        rows.iter().map(|row| row[0].as_str().unwrap().parse::<i64>().unwrap() / 60_000).collect()
    };
    eventually("the open kline", || starts("").len() == 6);
    assert_eq!(starts(""), [6, 5, 4, 3, 2, 1]);
    assert_eq!(starts("&limit=2"), [6, 5]);
    assert_eq!(starts("&start=120001&limit=2"), [3, 2], "forward from the kline that contains the start");
    assert_eq!(starts("&start=120000&end=240000"), [4, 3, 2]);
    assert_eq!(starts("&start=120000&end=360000&limit=2"), [6, 5]);
    assert_eq!(starts("&end=59999"), Vec::<i64>::new());
    assert_eq!(starts("&start=-9223372036854775808&limit=1"), [1]);
    assert_eq!(starts("&start=9223372036854775807"), Vec::<i64>::new());
    let answer = ask(&served, &format!("{target}&limit=1&end=60000"));
    assert_eq!(
        answer["result"]["list"][0],
        json!(["60000", "16578.5", "16580.25", "16578", "16580", "1.207", "20011.4375"])
    );
    assert_eq!((&answer["retCode"], &answer["result"]["symbol"]), (&json!(0), &json!("BTCUSDT")));
}

#[test]
fn refusals_have_the_exchange_s_codes() {
    let served = Served::start();
    for (target, message) in [
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=fortnight", "Invalid period!"),
        ("/v5/market/kline?category=linear&symbol=NOPE&interval=1", "params error: symbol invalid"),
        ("/v5/market/kline?category=spot&symbol=NOPE&interval=1", "Not supported symbols"),
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=D", "Invalid period!"),
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&limit=abc", "params error: limit invalid"),
        ("/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&start=1.7e12", "params error: start invalid"),
        ("/v5/market/instruments-info?category=futures", "params error: Category is invalid"),
        ("/v5/market/instruments-info?category=linear&symbol=NOPE", "params error: symbol invalid"),
    ] {
        let answer = ask(&served, target);
        assert_eq!((&answer["retCode"], &answer["retMsg"]), (&json!(10_001), &json!(message)), "{target}");
    }
}

#[test]
fn instruments_are_the_exchange_s_rows_of_watched_symbols() {
    let served = Served::start();
    let list = |query: &str| ask(&served, &format!("/v5/market/instruments-info?{query}"))["result"]["list"].clone();
    assert_eq!(list("category=linear&limit=1000")[0]["symbol"], "BTCUSDT");
    assert_eq!(list("category=linear&status=PreLaunch"), json!([]));
    assert_eq!(list("category=option&baseCoin=BTC"), json!([]));
}

#[test]
fn klines_need_a_key_and_the_time_does_not() {
    let served = Served::start();
    let target = "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1";
    assert_eq!(get(served.address, target, "").0, 401);
    assert_eq!(get(served.address, target, "Authorization: Bearer wrong\r\n").0, 401);
    assert_eq!(get(served.address, &format!("{target}&token={KEY}"), "").0, 401, "not allowed by default");
    assert_eq!(get(served.address, "/v5/market/time", "").0, 200);
    let served = Served::with(|settings| settings.token_in_url = true);
    assert_eq!(get(served.address, &format!("{target}&token={KEY}"), "").0, 200);
    let served = Served::with(|settings| settings.auth = false);
    assert_eq!(get(served.address, target, "").0, 200);
}

#[test]
fn the_page_is_served_with_a_strict_policy() {
    let served = Served::start();
    let (status, body) = get(served.address, "/", "Accept: text/html\r\n");
    assert!(status == 200 && body.contains("<html"), "{status}");
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", served.address);
    let head = super::peer::raw(served.address, request.as_bytes()).to_lowercase();
    for line in
        ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "x-frame-options: deny"]
    {
        assert!(head.contains(line), "{line}");
    }
    for name in ["page.js", "page.css", "lightweight-charts.js", "notice.txt"] {
        assert_eq!(get(served.address, &format!("/page/{name}"), "").0, 200, "{name}");
    }
    assert_eq!(get(served.address, "/page/../Cargo.toml", "").0, 404);
}
