//! The trait that a consumer implements. `component` passes the calls of the runtime to it.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Batch, Failure, Problem, Subscription};

/// A consumer of klines. The documentation of the crate describes the order of the calls.
pub trait Consumer: Sized + 'static {
    /// The type of `[consumers.NAME.settings]` in the configuration; [`NoSettings`] if there are none. A key that this
    /// type does not have is refused; no attribute is needed for that.
    type Settings: DeserializeOwned;

    /// Returns every problem of settings that have the right types. It must not have side effects.
    fn validate(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Makes the consumer from settings in which `validate` found no problem.
    ///
    /// # Errors
    /// A [`Failure`] if the consumer cannot be made.
    fn setup(settings: Self::Settings) -> Result<Self, Failure>;

    /// Returns which klines the consumer receives. The operator can only narrow it.
    fn subscription(&self) -> Subscription {
        Subscription::closed()
    }

    /// Starts the consumer. It is called once, before the first batch; open files here.
    ///
    /// # Errors
    /// A [`Failure`] if the consumer cannot work; its text is shown to the operator.
    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Processes one batch.
    ///
    /// # Errors
    /// After [`Failure::retry`] the runtime sends the same batch again after a pause; [`Failure::fatal`] ends the
    /// consumer.
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure>;

    /// Stops the consumer. It is called once, at the end; write buffered data here.
    fn stop(&mut self) {}
}

/// The settings of a consumer without settings: every key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct NoSettings {}
