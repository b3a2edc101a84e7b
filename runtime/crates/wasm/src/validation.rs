//! A component's check of its settings, on a thread of its own: WASI blocks on its futures, which must not happen on an
//! executor's thread, and whoever asks several components asks them at the same time.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use klines_delivery::{CrashKind, Failure, Problem, cpu};
use tracing::warn;

use super::blueprint::WasmBlueprint;

/// A check of settings that has begun. Dropped, it goes on and its answer is ignored.
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
            // Nobody listens any more if it took too long.
            let _ = sender.send(blueprint.examine());
        });
        if let Err(error) = thread {
            warn!(consumer = name, %error, "there is no thread to check the settings");
        }
        Self { answer }
    }

    /// Waits for the answer for as long as the component's limits allow. A component that cannot answer is a problem.
    #[must_use]
    pub fn problems(self) -> Vec<Problem> {
        // Without an answer, the thread panicked or never was.
        let answer = self.answer.recv().unwrap_or_else(|_| Err(no_answer()));
        answer.unwrap_or_else(|failure| vec![problem(&failure)])
    }

    /// Waits for the answer until a moment.
    ///
    /// # Errors
    /// [`Unanswered`].
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
    /// The check goes on.
    Late(Validation),
    /// It crashed, or took longer than its limit.
    Failed(Problem),
}

fn no_answer() -> Failure {
    Failure::Crashed { kind: CrashKind::Trap, message: "the host gave no answer".to_owned() }
}

fn problem(failure: &Failure) -> Problem {
    Problem {
        path: String::new(),
        message: format!("the component could not check its settings: {failure}"),
        expected: "a component that answers `validate`".to_owned(),
    }
}
