//! The socket of one client: passes its requests to the exchange and writes the queued frames, each when it is due.
//! Makes no decisions of its own.

use std::{cmp::Reverse, collections::BinaryHeap};

use axum::extract::ws::{Message, WebSocket};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{clients::QueuedFrame, exchange::ClientHandle, journal::Event, limits::count};

/// Serves a client until it disconnects, is cut, or sends nothing for too long.
pub(crate) async fn run(mut socket: WebSocket, mut client: ClientHandle, mut stalled: watch::Receiver<bool>) {
    let exchange = client.exchange.clone();
    let (limit, idle) = (exchange.limits.queue, exchange.limits.idle);
    let cut = client.cut.clone();
    // Frames that are not due yet. Together with the inbox they are at most twice the limit.
    let mut delayed: BinaryHeap<Reverse<QueuedFrame>> = BinaryHeap::new();
    let mut last_received = Instant::now();
    loop {
        let is_stalled = *stalled.borrow_and_update();
        let due = delayed.peek().map(|Reverse(out)| out.due);
        select! {
            // Biased, so that a fault that was injected before a frame also takes effect before it. Requests come
            // before data: a client that floods the server fills its own queue with answers and is cut.
            biased;
            () = cut.cancelled() => break,
            changed = stalled.changed() => if changed.is_err() { break },
            message = socket.recv(), if !is_stalled => {
                last_received = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        if exchange.journal.is_on() {
                            client.record_event(Event::Asked(text.to_string()));
                        }
                        exchange.request(client.id, text.as_str());
                    }
                    Some(Ok(Message::Binary(bytes))) => exchange.request(client.id, &String::from_utf8_lossy(&bytes)),
                    // The library answers protocol pings and closes.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
                    Some(Err(_)) | None => break,
                }
            }
            () = sleep_until(due.unwrap_or(last_received)), if due.is_some() && !is_stalled => {
                let Some(Reverse(out)) = delayed.pop() else { continue };
                let copy = exchange.journal.is_on().then(|| out.text.to_string());
                // The task waits here while the client does not read; meanwhile the queue fills and the client is cut.
                let sent = select! {
                    () = cut.cancelled() => break,
                    sent = socket.send(Message::Text(out.text)) => sent,
                };
                if sent.is_err() {
                    break;
                }
                if let Some(text) = copy {
                    client.record_event(Event::Sent(text));
                }
                count(&exchange.counters.frames_sent);
            }
            out = client.inbox.recv(), if delayed.len() < limit => match out {
                Some(out) => delayed.push(Reverse(out)),
                None => break,
            },
            () = sleep_until(last_received + idle), if !is_stalled => {
                count(&exchange.counters.cut_idle);
                cut.cancel();
            }
        }
    }
}
