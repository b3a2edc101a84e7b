//! The parameters from which the instances of one consumer are created.

use std::path::PathBuf;
use std::sync::Arc;

use klines_delivery::emit::Emitter;
use klines_delivery::trusted_work::TrustedWork;
use serde_json::Value;

use super::grants::Grants;
use super::host_observer::HostObserver;
use super::past::Past;
use super::state::StateStore;
use super::terminal::{StandardOutput, Terminal};
use klines_system::limits::Limits;

/// The parameters of the instances of one consumer.
#[derive(Clone)]
pub struct Setup {
    /// The consumer's name in the log.
    pub name: String,
    /// The settings, a JSON object.
    pub settings: String,
    /// The limits of its resources.
    pub limits: Limits,
    /// The permissions.
    pub grants: Grants,
    /// The source of terminal properties, for a consumer that may write to standard output.
    pub terminal: Arc<dyn Terminal>,
    /// The state that outlives its instances; with `None` it cannot store anything.
    pub state: Option<Arc<StateStore>>,
    /// The target of its published values; with `None` it cannot publish anything.
    pub emitter: Option<Arc<Emitter>>,
    /// What they may read of the past.
    pub past: Past,
    /// The origin of its component.
    pub origin: Origin,
    /// The settings without secrets, for display.
    pub shown: Value,
    /// The work to which its calls yield, if it is untrusted.
    pub trusted_work: Arc<TrustedWork>,
    /// Observes it and answers its requests; `None` except in tests of the consumer.
    pub observer: Option<Arc<dyn HostObserver>>,
}

impl Setup {
    /// Returns the parameters of a shipped consumer without grants and state, with the default limits.
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
            past: Past::unknown("no klines are stored here"),
            origin: Origin::Shipped(name.to_owned()),
            shown: serde_json::from_str(settings).unwrap_or_default(),
            trusted_work: Arc::default(),
            observer: None,
        }
    }
}

/// The origin of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The component with this name is part of the program.
    Shipped(String),
    /// The component is read from this file; it is untrusted.
    File(PathBuf),
}
