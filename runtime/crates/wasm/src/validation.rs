//! Lets a component validate its settings, on a separate thread: WASI blocks on its futures, which must not happen on a
//! thread of an executor, and several components are validated at the same time.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use klines_delivery::{CrashKind, Failure, Problem, cpu};
use tracing::warn;

use super::blueprint::WasmBlueprint;

/// A validation of settings that has begun. If it is dropped, its thread continues and the answer is ignored.
#[derive(Debug)]
pub struct Validation {
    answer: Receiver<Result<Vec<Problem>, Failure>>,
}

impl Validation {
    pub(super) fn begin(blueprint: WasmBlueprint) -> Self {
        let (sender, answer) = mpsc::channel();
        let name = blueprint.setup.name.clone();
        let thread = thread::Builder::new().name(format!("validate-{name}")).spawn(move || {
            if blueprint.is_untrusted() {
                cpu::rank_low();
            }
            // The receiver is gone if the validation took too long.
            let _ = sender.send(blueprint.examine());
        });
        if let Err(error) = thread {
            warn!(consumer = name, %error, "cannot start a thread to check the settings");
        }
        Self { answer }
    }

    /// Waits for the answer for as long as the component's limits allow. If the component cannot answer, that is
    /// returned as a problem.
    #[must_use]
    pub fn problems(self) -> Vec<Problem> {
        // Without an answer, the thread panicked or was never started.
        let answer = self.answer.recv().unwrap_or_else(|_| Err(no_answer()));
        answer.unwrap_or_else(|failure| vec![problem(&failure)])
    }

    /// Waits for the answer until `until`.
    ///
    /// # Errors
    /// [`Unanswered`] if the answer is late or the component failed.
    pub fn problems_by(self, until: Instant) -> Result<Vec<Problem>, Unanswered> {
        match self.answer.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(problems)) => Ok(problems),
            Ok(Err(failure)) => Err(Unanswered::Failed(problem(&failure))),
            Err(RecvTimeoutError::Disconnected) => Err(Unanswered::Failed(problem(&no_answer()))),
            Err(RecvTimeoutError::Timeout) => Err(Unanswered::Late(self)),
        }
    }
}

/// Why a component has not answered.
#[derive(Debug)]
pub enum Unanswered {
    /// The validation is still running.
    Late(Validation),
    /// The component crashed, or took longer than its limit.
    Failed(Problem),
}

fn no_answer() -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: "the host did not answer".to_owned() }
}

fn problem(failure: &Failure) -> Problem {
    Problem {
        path: String::new(),
        message: format!("the component could not check its settings: {failure}"),
        expected: "a component that answers `validate`".to_owned(),
    }
}
