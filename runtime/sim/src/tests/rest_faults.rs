//! Faults of REST and of one category: their effects, their scope, and that they end.

use std::{future::Future, time::Duration};

use serde_json::Value;
use tokio_tungstenite::connect_async;

use super::{
    client::{Client, Ending, get, try_get},
    quiet, still,
};
use crate::{Category, Fault, Market, RestFault, Sim, SimConfig};

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
        (RestFault::Unavailable, 503, Value::from("")),
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
