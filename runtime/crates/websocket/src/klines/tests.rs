//! `/v1/klines`: its pages, formats, errors and credentials.

use std::sync::atomic::Ordering;

use klines_delivery::encode::{self, CsvColumn};
use klines_delivery::fixture::kline;
use klines_domain::decimal::Decimal;
use klines_domain::kline::Kline;
use serde_json::{Value, json};

use crate::fixture::{Answer, FakeHistory, KEY, MINUTE, Served, closed, minutes, open};

const TARGET: &str = "/v1/klines?symbol=BTCUSDT&interval=1m";

async fn ok(served: &Served, more: &str) -> Answer {
    let answer = served.get(&format!("{TARGET}{more}")).await;
    assert_eq!(answer.status, 200, "{more}: {}", answer.body);
    answer
}

/// Returns the windows of a page, in its order.
async fn windows(served: &Served, more: &str) -> Vec<i64> {
    let answer = ok(served, more).await.json();
    answer["klines"].as_array().unwrap().iter().map(|kline| kline["start"].as_i64().unwrap() / MINUTE).collect()
}

fn up(from: i64, to: i64) -> Vec<i64> {
    (from..=to).collect()
}

/// A store of the minutes 1 to 12, and a memory of 10 to 15 with 16 open.
fn served() -> Served {
    let served = Served::with(&FakeHistory::of(minutes(1..=12)));
    served.publish(minutes(10..=15));
    served.publish([open(16)]);
    served
}

#[tokio::test]
async fn pages_are_oldest_first_and_have_the_open_kline_only_on_request() {
    let served = served();
    assert_eq!(windows(&served, "").await, up(1, 15));
    assert_eq!(windows(&served, "&open=false&limit=3").await, up(13, 15));
    assert_eq!(windows(&served, "&open=true&limit=3").await, up(14, 16));
    assert_eq!(windows(&served, "&limit=8").await, up(8, 15), "across the seam");
    for (from, to) in [(1, 4), (8, 14), (13, 15), (16, 20)] {
        let range = format!("&start={}&end={}", from * MINUTE, to * MINUTE);
        assert_eq!(windows(&served, &range).await, up(from, to.min(15)), "{range}");
        assert_eq!(windows(&served, &format!("{range}&open=true")).await, up(from, to.min(16)), "{range}");
    }
    assert_eq!(windows(&served, &format!("&start={}&limit=9", 5 * MINUTE)).await, up(5, 13), "forward");
    assert_eq!(windows(&served, &format!("&end={}&limit=9", 12 * MINUTE)).await, up(4, 12), "the newest");
    assert_eq!(windows(&served, &format!("&start={}&end={}&limit=2", MINUTE, 11 * MINUTE)).await, up(10, 11));
}

#[tokio::test]
async fn start_and_end_are_compared_with_the_starts_of_windows() {
    let served = served();
    let (start, end) = (3 * MINUTE, 5 * MINUTE);
    assert_eq!(windows(&served, &format!("&start={start}&end={end}")).await, up(3, 5));
    assert_eq!(windows(&served, &format!("&start={}&end={}", start + 1, end - 1)).await, [4]);
    assert_eq!(windows(&served, &format!("&start={end}&end={start}")).await, up(1, 0));
}

#[tokio::test]
async fn more_klines_than_a_page_are_read_forward_and_back_without_a_hole_or_a_double() {
    let served = Served::with(&FakeHistory::of(minutes(1..=2_500)));
    served.publish(minutes(2_400..=3_100));
    let (mut forward, mut back) = (windows(&served, "&start=0&limit=1000").await, Vec::new());
    assert_eq!(forward.len(), 1_000);
    while let Some(last) = forward.last() {
        let page = windows(&served, &format!("&limit=1000&start={}", last * MINUTE + 1)).await;
        if page.is_empty() {
            break;
        }
        forward.extend(page);
    }
    assert_eq!(forward, up(1, 3_100));
    let mut end = 9_999 * MINUTE;
    loop {
        let page = windows(&served, &format!("&limit=1000&end={end}")).await;
        let Some(first) = page.first() else { break };
        end = first * MINUTE - 1;
        back.extend(page.into_iter().rev());
    }
    back.reverse();
    assert_eq!(back, up(1, 3_100));
}

#[tokio::test]
async fn the_default_is_200_klines_and_1000_are_allowed() {
    let served = Served::with(&FakeHistory::of(minutes(1..=1_500)));
    assert_eq!(windows(&served, "").await, up(1_301, 1_500));
    assert_eq!(windows(&served, "&limit=1000").await, up(501, 1_500));
}

#[tokio::test]
async fn the_greater_revision_wins_and_memory_if_both_are_equal() {
    let served = Served::with(&FakeHistory::of([closed(1, 2, "101"), closed(2, 0, "102"), closed(3, 1, "103")]));
    served.publish([closed(1, 1, "201"), closed(2, 1, "202"), closed(3, 1, "203")]);
    let answer = ok(&served, "").await.json();
    let versions: Vec<_> = answer["klines"].as_array().unwrap().iter().map(|k| (&k["close"], &k["revision"])).collect();
    assert_eq!(versions, [(&json!("101"), &json!(2)), (&json!("202"), &json!(1)), (&json!("203"), &json!(1))]);
}

#[tokio::test]
async fn json_has_the_series_and_its_klines_as_everywhere_else() {
    let served = served();
    let answer = ok(&served, "&category=linear&limit=1").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let mut object = String::new();
    encode::object(&closed(15, 0, "16580"), &mut object);
    assert_eq!(
        answer.body,
        format!(r#"{{"category":"linear","symbol":"BTCUSDT","interval":"1m","klines":[{object}]}}"#)
    );
    let none = ok(&served, "&end=0").await;
    assert_eq!(none.body, r#"{"category":"linear","symbol":"BTCUSDT","interval":"1m","klines":[]}"#);
}

#[tokio::test]
async fn ndjson_has_a_kline_in_each_line() {
    let served = served();
    let answer = ok(&served, "&limit=2&open=true&format=ndjson").await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line["confirm"]).collect::<Vec<_>>(), [&json!(true), &json!(false)]);
    assert!(answer.body.ends_with("}\n"));
    assert_eq!(ok(&served, "&end=0&format=ndjson").await.body, "");
}

#[tokio::test]
async fn csv_has_the_columns_of_the_encoder_and_one_number_of_decimals_in_each() {
    let whole = Kline { turnover: Decimal::parse("20011").unwrap(), ..closed(1, 0, "16580") };
    let served = Served::with(&FakeHistory::of([whole, closed(2, 0, "16580.25")]));
    let answer = ok(&served, "&format=csv").await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let mut header = String::new();
    encode::csv_header(&CsvColumn::ALL, &mut header);
    assert_eq!(
        answer.body,
        format!(
            "{header}{}\n{}\n",
            "linear,BTCUSDT,1m,60000,119999,16578.50,16580.25,16578.00,16580.00,1.207,20011.0000,0.500,8289.2500,2,3,7,60005,true,0,complete,2,120080",
            "linear,BTCUSDT,1m,120000,179999,16578.50,16580.25,16578.00,16580.25,1.207,20011.4375,0.500,8289.2500,2,3,7,120005,true,0,complete,3,180080",
        )
    );
    assert_eq!(ok(&served, "&end=0&format=csv").await.body, header);
}

#[tokio::test]
async fn intervals_are_written_as_klines_or_bybit_writes_them() {
    let served = Served::with(&FakeHistory::of([kline("BTCUSDT", "1h", 1, true), kline("BTCUSDT", "1m", 7, true)]));
    for (interval, canonical) in [("1m", "1m"), ("1", "1m"), ("1h", "1h"), ("60", "1h")] {
        let answer = served.get(&format!("/v1/klines?symbol=BTCUSDT&interval={interval}")).await.json();
        assert_eq!((&answer["interval"], &answer["klines"][0]["interval"]), (&json!(canonical), &json!(canonical)));
    }
}

#[tokio::test]
async fn errors_name_the_parameter_and_say_what_to_write() {
    let history = FakeHistory::of([kline("XRPUSDT", "1m", 1, true)]);
    let served = Served::with(&history);
    for (query, parameter, message) in [
        ("symbol=BTCUSDT", "interval", "interval is missing: add one, such as interval=1s"),
        ("interval=1m", "symbol", "symbol is missing: add one, such as symbol=BTCUSDT"),
        ("symbol=BTCUSDT&interval=100ms", "interval", "interval `100ms` is not made here, only 1s, 1m, 1h"),
        (
            "symbol=BTCUSDT&interval=fortnight",
            "interval",
            "interval `fortnight`: not an interval: write a number and one of ms s m h D W M, such as 1m, or one of Bybit's codes",
        ),
        ("symbol=btc&interval=1m", "symbol", "`btc` is not a symbol: symbols are upper case on Bybit"),
        ("symbol=XRPUSDT&interval=1m", "symbol", "symbol `XRPUSDT` of linear is not watched here"),
        (
            "symbol=BTCUSD&interval=1m&category=spot",
            "symbol",
            "symbol `BTCUSD` of spot is not watched here: did you mean `BTCUSDT`?",
        ),
        (
            "symbol=BTCUSDT&interval=1m&category=inverse",
            "category",
            "category `inverse` is not watched here, only linear, spot",
        ),
        (
            "symbol=BTCUSDT&interval=1m&limit=1001",
            "limit",
            "limit must be 1 to 1000, not `1001`: get more in pages, with start or end",
        ),
        (
            "symbol=BTCUSDT&interval=1m&limit=0",
            "limit",
            "limit must be 1 to 1000, not `0`: get more in pages, with start or end",
        ),
        (
            "symbol=BTCUSDT&interval=1m&start=yesterday",
            "start",
            "start must be 0 to 253402300799999, in ms since 1970 UTC, not `yesterday`",
        ),
        (
            "symbol=BTCUSDT&interval=1m&end=-1",
            "end",
            "end must be 0 to 253402300799999, in ms since 1970 UTC, not `-1`",
        ),
        ("symbol=BTCUSDT&interval=1m&open=1", "open", "open must be true or false, not `1`"),
        ("symbol=BTCUSDT&interval=1m&format=xml", "format", "format must be json, csv or ndjson, not `xml`"),
        ("symbol=BTCUSDT&interval=1m&lmit=5", "lmit", "unknown parameter `lmit`: did you mean `limit`?"),
        (
            "symbol=BTCUSDT&interval=1m&%22%0A=5",
            "\" ",
            "unknown parameter `\" `: there are category, symbol, interval, start, end, limit, format, open",
        ),
        ("symbol=BTCUSDT&interval=1m&interval=1h", "interval", "interval is repeated: write it once"),
    ] {
        let answer = served.get(&format!("/v1/klines?{query}")).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")), "{query}");
        assert_eq!(answer.json(), json!({ "error": message, "parameter": parameter }), "{query}");
    }
    assert!(history.queries.lock().unwrap().is_empty(), "the store is not asked");
}

#[tokio::test]
async fn a_long_parameter_gets_a_short_error() {
    let served = Served::create(None, |_| {});
    let long = served.get(&format!("/v1/klines?{}=1", "x".repeat(9_000))).await;
    assert!(long.status == 400 && long.body.len() < 400, "{}", long.body);
}

#[tokio::test]
async fn a_store_that_fails_leaves_the_klines_in_memory_and_the_answer_says_so() {
    let history = FakeHistory::of(minutes(1..=12));
    let served = Served::with(&history);
    served.publish(minutes(10..=15));
    history.fails.store(true, Ordering::SeqCst);
    for format in ["json", "csv", "ndjson"] {
        let answer = ok(&served, &format!("&format={format}")).await;
        assert_eq!(answer.header("x-klines-history"), Some("unavailable"));
    }
    assert_eq!(windows(&served, "").await, up(10, 15));
    history.fails.store(false, Ordering::SeqCst);
    assert_eq!(ok(&served, "").await.header("x-klines-history"), None);
    let served = Served::create(None, |_| {});
    served.publish(minutes(10..=15));
    assert_eq!(windows(&served, "").await, up(10, 15), "without a store");
    for more in ["", "&start=2&end=1"] {
        assert_eq!(ok(&served, more).await.header("x-klines-history"), Some("none"), "{more}");
    }
}

#[tokio::test]
async fn klines_need_the_credentials_that_other_requests_need() {
    let history = FakeHistory::of(minutes(1..=3));
    let served = Served::with(&history);
    let with_token = format!("{TARGET}&token={KEY}");
    assert_eq!(served.get_with(TARGET, &[]).await.status, 401);
    assert_eq!(served.get_with(TARGET, &[("authorization", "Bearer wrong")]).await.status, 401);
    assert_eq!(served.get_with(&with_token, &[]).await.status, 401, "not allowed by default");
    assert!(history.queries.lock().unwrap().is_empty(), "the store is not asked");
    let served = Served::create(Some(history.clone()), |settings| settings.token_in_url = true);
    assert_eq!(served.get_with(&with_token, &[]).await.status, 200, "no unknown parameter");
    let served = Served::create(Some(history), |settings| settings.auth = false);
    assert_eq!(served.get_with(TARGET, &[("host", "127.0.0.1:9500")]).await.status, 200);
    assert_eq!(served.get_with(TARGET, &[("host", "rebound.example")]).await.status, 403);
}
