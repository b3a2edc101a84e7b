//! Who is told how the feeds stand, and what was told last: a client that comes is told at once, all of them at every change,
//! and nobody an older state after a newer one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hashbrown::HashMap;
use klines_delivery::catalog::FeedStatus;

use super::client::{Client, ClientId};
use super::frame;
use super::outbox::Kind;
use super::push::stream;

/// The followers of the feeds' state.
#[derive(Debug)]
pub struct Feeds {
    /// Held while frames are handed out, which is what keeps them in order.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    frame: Bytes,
    followers: HashMap<ClientId, Arc<Client>>,
}

impl Feeds {
    /// Starts without followers.
    #[must_use]
    pub fn new(feeds: &[FeedStatus]) -> Self {
        Self { state: Mutex::new(State { frame: frame_of(feeds), followers: HashMap::default() }) }
    }

    /// Lets a client follow: its next frame says how the feeds stand.
    pub fn join(&self, client: &Arc<Client>, now: i64) {
        let mut state = self.lock();
        client.push(Kind::Status, state.frame.clone(), now);
        state.followers.insert(client.id, client.clone());
    }

    /// Forgets a client.
    pub fn leave(&self, client: ClientId) {
        self.lock().followers.remove(&client);
    }

    /// Tells all followers, if it is new.
    pub fn tell(&self, feeds: &[FeedStatus], now: i64) {
        let (mut state, frame) = (self.lock(), frame_of(feeds));
        if state.frame == frame {
            return;
        }
        state.frame = frame;
        for client in state.followers.values() {
            client.push(Kind::Status, state.frame.clone(), now);
        }
        let told: Vec<Arc<Client>> = state.followers.values().cloned().collect();
        drop(state);
        told.iter().for_each(|client| client.flush());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn frame_of(feeds: &[FeedStatus]) -> Bytes {
    frame::text(&stream::status(feeds))
}
