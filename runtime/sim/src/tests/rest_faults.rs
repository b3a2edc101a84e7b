//! Faults of REST and of one category: their effects, their scope, and that they end.

use std::{future::Future, time::Duration};

use serde_json::Value;
use tokio_tungstenite::connect_async;

use super::{
    client::{Client, Ending, get, get_text, try_get},
    quiet, still,
};
use crate::{Category, Fault, Limits, Market, RestFault, Script, Sim, SimConfig};

const TIME: &str = "/v5/market/time";

fn list_of(category: Category) -> String {
    format!("/v5/market/instruments-info?category={category}")
}

/// Returns the symbols of a category's instrument list.
async fn names(sim: &Sim, category: Category) -> Vec<String> {
    let (status, body) = get(sim, &list_of(category)).await;
    assert_eq!((status, &body["retCode"]), (200, &Value::from(0)));
    let rows = body["result"]["list"].as_array().unwrap().iter();
    rows.map(|row| row["symbol"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_rest_fault_of_one_category_affects_the_calls_that_name_it_and_ends() {
    let sim = quiet().await;
    for (fault, status, answer) in [
        (RestFault::TooFrequent, 403, Value::from("access too frequent")),
        (RestFault::Blocked, 403, Value::from("<html>not available here</html>")),
        (RestFault::Limited, 200, Value::from(10_006)),
        (RestFault::Failing, 200, Value::from(10_016)),
        (RestFault::TimedOut, 200, Value::from(10_000)),
        (RestFault::Unavailable, 503, Value::from("")),
        (RestFault::Status(502), 502, Value::from("")),
        (RestFault::Garbage, 200, Value::from("<html>502 Bad Gateway</html>")),
    ] {
        sim.inject(Fault::Rest(fault).on(Category::Spot));
        let (found, body) = get(&sim, &list_of(Category::Spot)).await;
        let answered = if body.is_object() { &body["retCode"] } else { &body };
        assert_eq!((found, answered), (status, &answer), "{fault:?}");
        assert_eq!(names(&sim, Category::Linear).await, ["BTCUSDT", "ETHUSDT"], "{fault:?}");
        assert_eq!(get(&sim, TIME).await.0, 200, "{fault:?}");
        sim.heal();
        assert_eq!(names(&sim, Category::Spot).await, ["ETHUSDT"], "{fault:?}");
    }
    sim.inject(Fault::Rest(RestFault::TooFrequent));
    assert_eq!(get(&sim, TIME).await.0, 403);
    assert_eq!(get(&sim, &list_of(Category::Linear)).await.0, 403);
}

/// Returns whether `answer` is still pending after 100 ms. The absence of an answer has no event to wait for.
async fn waits<T>(answer: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(100), answer).await.is_err()
}

#[tokio::test]
async fn a_silent_call_is_answered_when_the_fault_ends() {
    let sim = quiet().await;
    sim.inject(Fault::Rest(RestFault::Silent).on(Category::Linear));
    let path = list_of(Category::Linear);
    let mut answer = Box::pin(get(&sim, &path));
    assert!(waits(&mut answer).await);
    assert_eq!(get(&sim, TIME).await.0, 200);
    sim.heal();
    assert_eq!(answer.await.0, 200);
}

#[tokio::test]
async fn a_late_answer_has_the_time_at_which_it_was_sent() {
    let sim = quiet().await;
    let asked = sim.now_ms();
    sim.inject(Fault::Rest(RestFault::Late(Duration::from_millis(50))));
    let (_, body) = get(&sim, TIME).await;
    assert!(body["time"].as_i64().unwrap() >= asked + 50, "{body}");
}

#[tokio::test]
async fn lists_can_be_empty_or_incomplete_without_a_cursor() {
    let all = ["AUSDT", "BUSDT", "CUSDT", "DUSDT"].map(|name| still(Category::Linear, name));
    let sim = Sim::start(SimConfig::new(Market::seeded(1, all.to_vec()))).await.unwrap();
    sim.inject(Fault::Rest(RestFault::HalfList).on(Category::Linear));
    assert_eq!(names(&sim, Category::Linear).await, ["AUSDT", "BUSDT"]);
    let (_, body) = get(&sim, &list_of(Category::Linear)).await;
    assert_eq!(body["result"]["nextPageCursor"], "");
    sim.inject(Fault::Rest(RestFault::EmptyList));
    assert_eq!(names(&sim, Category::Linear).await, [""; 0]);
    sim.heal();
    assert_eq!(names(&sim, Category::Linear).await.len(), 4);
}

#[tokio::test]
async fn one_category_can_be_down_while_the_others_are_up() {
    let sim = quiet().await;
    let mut linear = Client::connect(&sim, Category::Linear).await;
    let mut spot = Client::connect(&sim, Category::Spot).await;
    sim.inject(Fault::Down.on(Category::Spot));
    assert_eq!(spot.end().await, Ending::Reset);
    assert!(connect_async(format!("{}/v5/public/spot", sim.ws_url())).await.is_err());
    assert_eq!(try_get(&sim, &list_of(Category::Spot)).await, None);
    assert!(linear.ask(r#"{"op":"ping"}"#).await.contains("pong"));
    assert_eq!(names(&sim, Category::Linear).await, ["BTCUSDT", "ETHUSDT"]);
    assert_eq!(sim.counters().connections, 2, "no further client was admitted");
    sim.heal();
    Client::connect(&sim, Category::Spot).await;
    assert_eq!(names(&sim, Category::Spot).await, ["ETHUSDT"]);
}

/// Returns the value of a header; names are in lower case on the wire.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn too_many_visits_come_with_and_without_the_time_of_the_reset() {
    let sim = quiet().await;
    sim.inject(Fault::Rest(RestFault::Limited));
    let (head, body) = get_text(&sim, TIME).await.unwrap();
    assert!(body.contains(r#""retCode":10006,"retMsg":"Too many visits!""#), "{body}");
    assert_eq!(header(&head, "x-bapi-limit-reset-timestamp"), None);
    sim.heal();

    sim.inject(Fault::Rest(RestFault::LimitedFor(Duration::from_secs(7))));
    let (before, (head, body)) = (sim.now_ms(), get_text(&sim, TIME).await.unwrap());
    assert!(body.contains(r#""retCode":10006"#), "{body}");
    let reset: i64 = header(&head, "x-bapi-limit-reset-timestamp").unwrap().parse().unwrap();
    assert!((before + 7_000..=sim.now_ms() + 7_000).contains(&reset), "{head}");
    assert_eq!(header(&head, "x-bapi-limit-status"), Some("0"));
    assert_eq!(header(&head, "x-bapi-limit"), Some("50"));
}

#[tokio::test]
async fn too_many_visits_in_a_second_are_refused_with_the_limit() {
    let limits = Limits { visits_per_s: Some(0), ..Limits::default() };
    let sim = Sim::start(SimConfig { limits, ..SimConfig::new(super::quiet_market()) }).await.unwrap();
    let (head, body) = get_text(&sim, TIME).await.unwrap();
    assert!(body.contains(r#""retCode":10006"#), "{body}");
    assert_eq!(header(&head, "x-bapi-limit"), Some("0"));
}

#[tokio::test]
async fn an_answer_can_be_cut_in_half_or_reset() {
    let sim = quiet().await;
    let whole = get_text(&sim, &list_of(Category::Spot)).await.unwrap().1;
    sim.inject(Fault::Rest(RestFault::Truncated).on(Category::Spot));
    let (head, half) = get_text(&sim, &list_of(Category::Spot)).await.unwrap();
    assert_eq!(header(&head, "content-length"), Some((whole.len() / 2).to_string().as_str()));
    assert_eq!(half.len(), whole.len() / 2);
    assert!(whole.starts_with(&half[..half.len() - 20]));
    sim.heal();
    sim.inject(Fault::Rest(RestFault::Reset));
    assert_eq!(get_text(&sim, TIME).await, None);
}

#[tokio::test]
async fn a_share_of_the_calls_is_refused_and_the_seed_says_which() {
    let statuses = async |seed| {
        let script = Script::default().with(Duration::ZERO, Fault::Rest(RestFault::Unavailable).with_chance(33));
        let market = Market::seeded(seed, vec![still(Category::Linear, "ETHUSDT")]);
        let limits = Limits { requests_per_5_s: usize::MAX, ..Limits::default() };
        let sim = Sim::start(SimConfig { script, limits, ..SimConfig::new(market) }).await.unwrap();
        let mut statuses = Vec::new();
        for _ in 0..300 {
            statuses.push(get(&sim, TIME).await.0);
        }
        statuses
    };
    let one = statuses(1).await;
    let refused = one.iter().filter(|status| **status == 503).count();
    assert!((60..140).contains(&refused), "{refused} of 300");
    assert!(one.iter().all(|status| [200, 503].contains(status)));
    assert_eq!(one, statuses(1).await);
    assert_ne!(one, statuses(2).await);
}
