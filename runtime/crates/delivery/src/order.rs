//! What an operator orders while a consumer runs, and how the answer comes back.

use std::fmt;
use std::sync::mpsc::Sender;

use crate::consumer::Blueprint;

/// Something that a consumer's thread is ordered to do between two calls.
pub enum Order {
    /// Hand over nothing; what comes waits in the queue, as long as that holds.
    Pause,
    /// Go on. A consumer that failed or is quarantined is started again.
    Resume,
    /// Let instances of this blueprint take over. The present instance goes on if the new one cannot be started.
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

/// An order in a consumer's queue, with the sender of the answer.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) answer: Sender<Result<(), String>>,
}
