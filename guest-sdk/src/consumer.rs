//! The trait that a consumer implements. It does not say how the calls arrive; that is `component`.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Batch, Failure, Problem, Subscription};

/// A consumer of klines. See the crate's page for the order of the calls.
pub trait Consumer: Sized + 'static {
    /// What the operator may write under `[consumers.NAME.settings]`; [`NoSettings`] if nothing. A key that this
    /// type does not have is refused without any attribute.
    type Settings: DeserializeOwned;

    /// Returns every problem of settings that are well-formed; must have no effect.
    fn validate(settings: &Self::Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Makes the consumer from settings that `validate` found no problem in.
    ///
    /// # Errors
    /// A [`Failure`] if the consumer cannot be made.
    fn setup(settings: Self::Settings) -> Result<Self, Failure>;

    /// Says what the consumer wants to receive. The operator can only narrow it.
    fn subscription(&self) -> Subscription {
        Subscription::closed()
    }

    /// Called once before the first batch: the place to open files.
    ///
    /// # Errors
    /// A [`Failure`] if the consumer cannot work; the text reaches the operator.
    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes one batch.
    ///
    /// # Errors
    /// [`Failure::retry`] makes the same batch come again after a pause; [`Failure::fatal`] ends the consumer.
    fn consume(&mut self, batch: &Batch) -> Result<(), Failure>;

    /// Called once at the end; what is buffered must be written here.
    fn stop(&mut self) {}
}

/// The settings of a consumer that has none: every key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub struct NoSettings {}
