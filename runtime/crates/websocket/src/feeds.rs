//! Sends the state of the feeds to clients: to a new client at once, and to all of them at every change. No client
//! receives an older state after a newer one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;
use klines_delivery::catalog::FeedStatus;

use super::client::{Client, ClientId};
use super::frame;
use super::outbox::FrameKind;
use super::push::stream;

/// The clients that receive the state of the feeds.
#[derive(Debug)]
pub struct Feeds {
    /// Locked while frames are pushed, which keeps them in order.
    state: Mutex<FeedsState>,
}

#[derive(Debug)]
struct FeedsState {
    /// The last frame that was pushed.
    frame: Bytes,
    followers: HashMap<ClientId, Arc<Client>>,
}

impl Feeds {
    /// Starts with no clients.
    #[must_use]
    pub fn new(feeds: &[FeedStatus]) -> Self {
        Self { state: Mutex::new(FeedsState { frame: frame_of(feeds), followers: HashMap::default() }) }
    }

    /// Adds a client and pushes the current state to it.
    pub fn follow(&self, client: &Arc<Client>, now: i64) {
        let mut state = self.lock();
        client.push(FrameKind::Status, state.frame.clone(), now);
        state.followers.insert(client.id, client.clone());
    }

    /// Removes a client.
    pub fn unfollow(&self, client: ClientId) {
        self.lock().followers.remove(&client);
    }

    /// Pushes the state to all clients if it has changed.
    pub fn publish(&self, feeds: &[FeedStatus], now: i64) {
        let (mut state, frame) = (self.lock(), frame_of(feeds));
        if state.frame == frame {
            return;
        }
        state.frame = frame;
        for client in state.followers.values() {
            client.push(FrameKind::Status, state.frame.clone(), now);
        }
        let followers: Vec<Arc<Client>> = state.followers.values().cloned().collect();
        drop(state);
        followers.iter().for_each(|client| client.flush());
    }

    fn lock(&self) -> MutexGuard<'_, FeedsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn frame_of(feeds: &[FeedStatus]) -> Bytes {
    frame::text(&stream::status(feeds))
}
