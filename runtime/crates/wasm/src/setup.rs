//! What the instances of one consumer are made with.

use std::path::PathBuf;
use std::sync::Arc;

use klines_delivery::emit::Emitter;
use klines_delivery::trusted_work::TrustedWork;
use serde_json::Value;

use super::grants::Grants;
use super::host_observer::HostObserver;
use super::state::StateStore;
use super::terminal::{StandardOutput, Terminal};
use klines_system::limits::Limits;

/// Everything that one consumer's instances are made with.
#[derive(Clone)]
pub struct Setup {
    /// The consumer's name in the log.
    pub name: String,
    /// Its settings, a JSON object.
    pub settings: String,
    /// What it may use up.
    pub limits: Limits,
    /// What it may touch.
    pub grants: Grants,
    /// What it learns of the terminal, if it may write to it.
    pub terminal: Arc<dyn Terminal>,
    /// What it keeps from one life to the next; none, and it can keep nothing.
    pub state: Option<Arc<StateStore>>,
    /// Where its own series go; none, and it can publish nothing.
    pub emitter: Option<Arc<Emitter>>,
    /// Where its component comes from.
    pub origin: Origin,
    /// Its settings without secrets, for people.
    pub shown: Value,
    /// What its calls give way to, if it is untrusted.
    pub trusted_work: Arc<TrustedWork>,
    /// Who watches it and answers its requests: nobody but in a test of the consumer.
    pub observer: Option<Arc<dyn HostObserver>>,
}

impl Setup {
    /// The circumstances of a consumer that is granted nothing, keeps nothing, and has the default limits.
    #[must_use]
    pub fn plain(name: &str, settings: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: settings.to_owned(),
            limits: Limits::default(),
            grants: Grants::default(),
            terminal: Arc::new(StandardOutput),
            state: None,
            emitter: None,
            origin: Origin::Shipped(name.to_owned()),
            shown: serde_json::from_str(settings).unwrap_or_default(),
            trusted_work: Arc::default(),
            observer: None,
        }
    }
}

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the program.
    Shipped(String),
    /// A file.
    File(PathBuf),
}
