//! One client's socket: hands its requests to the floor and writes what the floor queued, each frame not before it is
//! due. Decides nothing.

use std::{cmp::Reverse, collections::BinaryHeap};

use axum::extract::ws::{Message, WebSocket};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{floor::Seat, journal::Event, limits::count, peers::Out};

/// Serves a client until it leaves, is cut, or stays silent for too long.
pub(crate) async fn run(mut socket: WebSocket, mut seat: Seat, mut stalled: watch::Receiver<bool>) {
    let floor = seat.floor.clone();
    let (limit, idle) = (floor.limits.queue, floor.limits.idle);
    let cut = seat.cut.clone();
    // Frames that wait for their time; with the inbox, at most twice the limit.
    let mut held: BinaryHeap<Reverse<Out>> = BinaryHeap::new();
    let mut heard = Instant::now();
    loop {
        let frozen = *stalled.borrow_and_update();
        let due = held.peek().map(|Reverse(out)| out.due);
        select! {
            // A fault that was injected before a frame came must be seen before it. Requests come before data: a client
            // that floods fills its own queue with answers and is cut.
            biased;
            () = cut.cancelled() => break,
            changed = stalled.changed() => if changed.is_err() { break },
            message = socket.recv(), if !frozen => {
                heard = Instant::now();
                match message {
                    Some(Ok(Message::Text(text))) => {
                        if floor.journal.is_on() {
                            seat.note(Event::Asked(text.to_string()));
                        }
                        floor.request(seat.id, text.as_str());
                    }
                    Some(Ok(Message::Binary(bytes))) => floor.request(seat.id, &String::from_utf8_lossy(&bytes)),
                    // The library answers protocol pings and closes.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
                    Some(Err(_)) | None => break,
                }
            }
            () = sleep_until(due.unwrap_or(heard)), if due.is_some() && !frozen => {
                let Some(Reverse(out)) = held.pop() else { continue };
                let copy = floor.journal.is_on().then(|| out.text.to_string());
                // A client that does not read blocks here; its queue fills meanwhile, and the floor cuts it.
                let sent = select! {
                    () = cut.cancelled() => break,
                    sent = socket.send(Message::Text(out.text)) => sent,
                };
                if sent.is_err() {
                    break;
                }
                if let Some(text) = copy {
                    seat.note(Event::Sent(text));
                }
                count(&floor.tally.frames_sent);
            }
            out = seat.inbox.recv(), if held.len() < limit => match out {
                Some(out) => held.push(Reverse(out)),
                None => break,
            },
            () = sleep_until(heard + idle), if !frozen => {
                count(&floor.tally.cut_idle);
                cut.cancel();
            }
        }
    }
}
