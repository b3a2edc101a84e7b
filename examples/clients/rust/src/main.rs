//! Prints confirmed klines, and values that consumers emit, of the topics on its command line.
//!
//! After a cut it resumes where it was: nothing is missed, nothing comes twice.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::{env, thread, time::Duration};

use serde_json::{Map, Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, connect};

/// By topic, the last number that was seen: `{"epoch": …, "seq": …}`.
type Since = BTreeMap<String, Value>;

/// Trying again is no use.
#[derive(Debug)]
struct Refused(String);

fn main() -> ExitCode {
    let url = env::var("KLINES_URL").unwrap_or_else(|_| "ws://127.0.0.1:9500/v1/stream".to_owned());
    let Ok(key) = env::var("KLINES_KEY") else {
        eprintln!("set KLINES_KEY");
        return ExitCode::from(2);
    };
    let mut topics: Vec<String> = env::args().skip(1).collect();
    if topics.is_empty() {
        topics.push("kline.1m.BTCUSDT".to_owned());
    }
    let mut since = Since::new();
    loop {
        let ended = follow(&url, &key, &topics, &mut since);
        if let Err(Refused(reason)) = ended {
            eprintln!("{reason}");
            return ExitCode::FAILURE;
        }
        eprintln!("not connected; trying again");
        #[allow(clippy::disallowed_methods, reason = "there is nothing else to do on this thread")]
        thread::sleep(Duration::from_secs(1));
    }
}

/// Follows the topics until the connection ends.
fn follow(url: &str, key: &str, topics: &[String], since: &mut Since) -> Result<(), Refused> {
    let wrong = |error: &dyn Error| Refused(error.to_string());
    let mut request = url.into_client_request().map_err(|error| wrong(&error))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|error| wrong(&error))?;
    request.headers_mut().insert("authorization", bearer);
    let mut stream = match connect(request) {
        Ok((stream, _)) => stream,
        Err(tungstenite::Error::Http(answer)) if answer.status().is_client_error() => {
            return Err(Refused(format!("refused: {}", answer.status())));
        }
        Err(_) => return Ok(()),
    };
    let subscribe = json!({ "op": "subscribe", "topics": topics, "since": since });
    if stream.send(Message::text(subscribe.to_string())).is_err() {
        return Ok(());
    }
    loop {
        match stream.read() {
            Ok(Message::Text(text)) => take(&serde_json::from_str(&text).unwrap_or_default(), since)?,
            // 3500 to 3999: the server says that trying again is no use.
            Ok(Message::Close(Some(frame))) if (3500..4000).contains(&u16::from(frame.code)) => {
                return Err(Refused(format!("refused: {} {}", frame.code, frame.reason)));
            }
            // Pings are answered by the library.
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

fn take(message: &Value, since: &mut Since) -> Result<(), Refused> {
    let topic = message["topic"].as_str().unwrap_or_default();
    let data = &message["data"];
    let kind = message["type"].as_str().or(message["op"].as_str()).unwrap_or_default();
    let is_confirmed = data["confirm"] == true;
    // An open window's updates carry the number that its closed kline will have.
    if kind == "snapshot" || is_confirmed {
        since.insert(topic.to_owned(), json!({ "epoch": message["epoch"], "seq": message["seq"] }));
    }
    match kind {
        "kline" if is_confirmed => {
            println!("{topic} {} {}", message["seq"], data["close"].as_str().unwrap_or_default())
        }
        "value" if is_confirmed => println!("{topic} {} {}", message["seq"], data["value"]),
        // Whether the exchange is heard: klines cannot say it, since there are none when it is not.
        "status" => {
            for feed in message["feeds"].as_array().into_iter().flatten() {
                let text = |key: &str| feed[key].as_str().unwrap_or_default();
                eprintln!("{} is {} since {} ms", text("category"), text("state"), feed["since"]);
            }
        }
        "subscribe" if message["ok"] != true => return Err(Refused(format!("{topic}: {}", message["error"]))),
        "subscribe" => {
            for (name, state) in message["topics"].as_object().unwrap_or(&Map::new()) {
                if state["recovered"] == false {
                    eprintln!("{name}: what came meanwhile is gone");
                }
            }
        }
        _ => {}
    }
    Ok(())
}
