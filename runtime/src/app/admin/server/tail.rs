//! Sends what a tap receives to a client. A client that reads slowly misses klines, which are counted; one that does not
//! read waits, and costs the run no more than its tap.

use std::io;

use klines_delivery::encode::{object, whole_value};
use klines_delivery::tap::{Taken, Tap, Tapped};
use klines_delivery::topic::{Known, Selection};
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use super::Connection;
use crate::app::admin::protocol::{Answer, Response};
use crate::app::observed::Observed;

/// Returns what is to be sent. The error is sent to the client.
pub(super) fn selection(observed: &Observed, topics: &[String], updates: bool) -> Result<Selection, String> {
    let consumers: Vec<String> = observed.consumers.views().into_iter().map(|view| view.name).collect();
    let first = observed.categories().first().copied().unwrap_or_default();
    Selection::parse(topics, updates, Known { first, catalog: &observed.catalog, consumers: &consumers })
}

impl Connection {
    /// Sends what `tap` receives until the client closes the connection.
    pub(super) async fn tail(&mut self, tap: Tap) -> io::Result<()> {
        loop {
            let taken = tokio::select! {
                taken = tap.next() => taken,
                closed = self.closed() => return closed,
            };
            // A boundary of all symbols is a few milliseconds of work, which ingest shall not wait for.
            let text = spawn_blocking(move || encode(&taken)).await.map_err(io::Error::other)??;
            // Without a limit: whoever stops the output for a while wants to go on after that.
            self.writer.write_all(text.as_bytes()).await?;
        }
    }
}

fn encode(taken: &Taken) -> io::Result<String> {
    let mut text = String::new();
    if taken.missed > 0 {
        text.push_str(&serde_json::to_string(&Response::from(Answer::Missed(taken.missed)))?);
        text.push('\n');
    }
    for found in &taken.found {
        match found {
            Tapped::Kline(kline) => {
                text.push_str(r#"{"v":1,"kline":"#);
                object(kline, &mut text);
            }
            Tapped::Value(point) => {
                text.push_str(r#"{"v":1,"value":"#);
                whole_value(point, &mut text);
            }
        }
        text.push_str("}\n");
    }
    Ok(text)
}
