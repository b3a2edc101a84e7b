//! Prints the confirmed klines, and the values that consumers emit, of the topics on its command line.
//!
//! After a disconnect it resumes at the last message that it received, so that no message is missed or repeated.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::{env, thread, time::Duration};

use serde_json::{Map, Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, connect};

/// The position of the last message, by topic: `{"epoch": …, "seq": …}`.
type Since = BTreeMap<String, Value>;

/// A permanent error: the client does not reconnect.
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

/// Connects, subscribes to the topics and prints their messages until the connection ends.
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
            // Codes 3500 to 3999 mean that the client must not reconnect.
            Ok(Message::Close(Some(frame))) if (3500..4000).contains(&u16::from(frame.code)) => {
                return Err(Refused(format!("refused: {} {}", frame.code, frame.reason)));
            }
            // The library answers pings.
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
}

/// Handles one message of the server.
fn take(message: &Value, since: &mut Since) -> Result<(), Refused> {
    let topic = message["topic"].as_str().unwrap_or_default();
    let data = &message["data"];
    let kind = message["type"].as_str().or(message["op"].as_str()).unwrap_or_default();
    let is_confirmed = data["confirm"] == true;
    // Updates of an open window already have the number of its closed kline, so they do not count as received.
    if kind == "snapshot" || is_confirmed {
        since.insert(topic.to_owned(), json!({ "epoch": message["epoch"], "seq": message["seq"] }));
    }
    match kind {
        "kline" if is_confirmed => {
            println!("{topic} {} {}", message["seq"], data["close"].as_str().unwrap_or_default())
        }
        "value" if is_confirmed => println!("{topic} {} {}", message["seq"], data["value"]),
        // The state of the connection to the exchange. Without it, no klines arrive, so only this message can show it.
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
                    eprintln!("{name}: the messages since the disconnect are lost");
                } else if since.get(name).is_some_and(|last| last["seq"] == state["seq"]) {
                    // Nothing was missed, and after a crash of the server the position has another epoch.
                    since.insert(name.clone(), json!({ "epoch": state["epoch"], "seq": state["seq"] }));
                }
            }
        }
        _ => {}
    }
    Ok(())
}
