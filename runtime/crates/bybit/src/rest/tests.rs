//! Tests the client with hand-written answers: those that Bybit sends, and invalid ones.

mod market;

use klines_system::clock::LocalClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::symbols::Trading;

const LINEAR: &str = r#"{"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC",
    "quoteCoin":"USDT","deliveryTime":"0","priceFilter":{"minPrice":"0.10","maxPrice":"1999999.80","tickSize":"0.10"}}"#;

/// Serves each answer on one connection. Returns the client and the request targets.
async fn client(answers: Vec<String>) -> (RestClient, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let served = tokio::spawn(async move {
        let mut targets = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            assert!(request.contains("user-agent: klines/"), "{request}");
            targets.push(request.split(' ').nth(1).unwrap().to_owned());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        targets
    });
    let dialer = Dialer::new(|_| None).unwrap();
    (RestClient::new(dialer, Gate::new(LocalClock::start()), base), served)
}

fn http(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nRetry-After: 7\r\n\r\n{body}", body.len())
}

fn ok(result: &str) -> String {
    http(
        "200 OK",
        &format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1700000000123}}"#),
    )
}

async fn failure(answer: String) -> RestError {
    client(vec![answer]).await.0.time().await.unwrap_err()
}

#[tokio::test]
async fn the_reply_has_the_timestamp_of_the_envelope() {
    let (client, served) = client(vec![ok(r#"{"timeSecond":"1700000000","timeNano":"1700000000120000000"}"#)]).await;
    let reply = client.time().await.unwrap();
    assert_eq!((reply.result.get(), reply.stamped.get()), (1_700_000_000_120, 1_700_000_000_123));
    assert_eq!(served.await.unwrap(), ["/v5/market/time"]);
}

#[tokio::test]
async fn pages_are_requested_until_the_last_and_cursors_are_sent_back_unchanged() {
    let page = |list: &str, cursor: &str| {
        ok(&format!(r#"{{"category":"linear","list":[{list}],"nextPageCursor":"{cursor}"}}"#))
    };
    let (client, served) = client(vec![page(LINEAR, "first%3DA%26last%3DB"), page("", "again")]).await;
    let found = client.instruments(Category::Linear).await.unwrap().result;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].tick.to_string(), found[0].trading), ("0.1".to_owned(), Trading::Open));
    let targets = served.await.unwrap();
    assert_eq!(targets[0], "/v5/market/instruments-info?category=linear&limit=1000");
    assert!(targets[1].ends_with("&cursor=first%3DA%26last%3DB"), "{targets:?}");
}

#[tokio::test]
async fn a_spot_list_without_a_cursor_is_complete() {
    let spot = r#"{"symbol":"ETHUSDT","status":"Trading","quoteCoin":"USDT","priceFilter":{"tickSize":"0.01"}}"#;
    let (client, _served) = client(vec![ok(&format!(r#"{{"category":"spot","list":[{spot},{spot}]}}"#))]).await;
    assert_eq!(client.instruments(Category::Spot).await.unwrap().result.len(), 2);
}

#[tokio::test]
async fn refusals_and_limits_are_distinguished() {
    let refused = http("200 OK", r#"{"retCode":10001,"retMsg":"params error: symbol invalid","result":{},"time":1}"#);
    assert!(matches!(failure(refused).await, RestError::Refused { code: 10_001, .. }));
    let visits = http("200 OK", r#"{"retCode":10006,"retMsg":"Too many visits!"}"#);
    assert_eq!(failure(visits).await.wait(), Some(LIMITED_WAIT));
    assert_eq!(failure(http("429 Too Many Requests", "")).await.wait(), Some(Duration::from_secs(7)));
    let limit = failure(http("403 Forbidden", "403, access too frequent")).await;
    assert_eq!(limit.to_string(), "refused with 403: 403, access too frequent");
    let geo = failure(http("403 Forbidden", "<html>CloudFront</html>")).await;
    assert!(geo.to_string().contains("a country or a network is not served"), "{geo}");
    assert_eq!([limit.wait(), geo.wait()], [Some(FORBIDDEN_WAIT); 2]);
    assert!(matches!(failure(http("404 Not Found", "")).await, RestError::Status { .. }));
}

#[tokio::test]
async fn an_invalid_answer_is_an_error() {
    assert!(matches!(failure(http("200 OK", "<html>")).await, RestError::Malformed(_)));
    assert!(matches!(failure(ok("null")).await, RestError::Malformed(_)));
    assert!(matches!(failure("nonsense\r\n\r\n".to_owned()).await, RestError::Http(_)));
    assert!(matches!(failure("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned()).await, RestError::Http(_)));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_BODY + 1));
    assert!(matches!(failure(endless).await, RestError::TooLarge));
}

#[tokio::test]
async fn a_refusal_for_too_many_requests_stops_all_callers_and_other_refusals_do_not() {
    let geo = http("403 Forbidden", "not available in your country");
    let time = ok(r#"{"timeSecond":"1700000000","timeNano":"1700000000120000000"}"#);
    let (client, served) = client(vec![geo, time, http("403 Forbidden", "access too frequent")]).await;
    let other = client.clone();
    assert!(matches!(client.time().await, Err(RestError::Forbidden { .. })));
    assert!(other.time().await.is_ok(), "a country that is not served does not stop requests");
    assert!(matches!(client.time().await, Err(RestError::TooFrequent { .. })));
    assert_eq!(served.await.unwrap().len(), 3, "the server is gone: another request could not connect");
    for asking in [&client, &other] {
        let error = asking.instruments(Category::Spot).await.unwrap_err();
        assert!(matches!(error, RestError::Stopped { .. }), "{error}");
        let wait = error.wait().unwrap();
        assert!(wait <= FORBIDDEN_WAIT && wait > FORBIDDEN_WAIT / 2, "{wait:?}");
    }
    let metrics = client.gate.metrics();
    assert_eq!((metrics.requests, metrics.stops, metrics.limited), (3, 1, 0));
    assert!(metrics.resumes_in > 0);
}

#[tokio::test]
async fn a_page_that_points_to_itself_is_an_error() {
    let page = ok(&format!(r#"{{"category":"linear","list":[{LINEAR}],"nextPageCursor":"first%3DA"}}"#));
    let (client, _served) = client(vec![page.clone(), page]).await;
    assert!(matches!(client.instruments(Category::Linear).await, Err(RestError::Malformed(_))));
}
