//! A record of everything that happened on the stream connections. Tests compare a client's klines with it. Off by
//! default, because it grows without bound.

use std::sync::{Mutex, PoisonError};

use crate::category::Category;

/// An event on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client was admitted.
    Opened,
    /// The client sent this text.
    Asked(String),
    /// This text was written to the client's socket.
    Sent(String),
    /// The connection ended.
    Closed {
        /// `true` if the exchange reset the connection, `false` if the client disconnected.
        cut: bool,
    },
}

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Market time in ms, after the event.
    pub at: i64,
    /// Number of the connection, unique within the exchange.
    pub connection: u64,
    /// Category of the connection's address.
    pub category: Category,
    /// What happened.
    pub event: Event,
}

/// The entries so far, or `None` if the journal is off.
#[derive(Debug)]
pub(crate) struct Journal(Option<Mutex<Vec<Entry>>>);

impl Journal {
    pub fn new(is_on: bool) -> Self {
        Self(is_on.then(Mutex::default))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub fn add(&self, at: i64, connection: u64, category: Category, event: Event) {
        if let Some(entries) = &self.0 {
            let entry = Entry { at, connection, category, event };
            entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        }
    }

    pub fn entries(&self) -> Vec<Entry> {
        let entries = self.0.as_ref().map(|entries| entries.lock().unwrap_or_else(PoisonError::into_inner).clone());
        entries.unwrap_or_default()
    }
}
