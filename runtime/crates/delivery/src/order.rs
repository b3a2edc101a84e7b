//! Orders that an operator gives a running consumer, and how they are answered.

use std::fmt;
use std::sync::mpsc::Sender;

use crate::consumer::Blueprint;

/// An order that a consumer's thread executes between two calls.
pub enum Order {
    /// Deliver nothing. New klines wait in the queue while it has room.
    Pause,
    /// Continue. A consumer that failed or is quarantined is started again.
    Resume,
    /// Replace the instance by one of this blueprint. The current instance continues if the new one does not start.
    Reload(Box<dyn Blueprint>),
}

impl fmt::Debug for Order {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Reload(_) => "Reload",
        })
    }
}

/// An order in a consumer's queue, with the sender for the answer.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) answer: Sender<Result<(), String>>,
}
