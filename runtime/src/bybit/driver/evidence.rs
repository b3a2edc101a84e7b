//! When to ask a socket whether everything that arrived has been read: once for each boundary, when the pipeline could
//! close it. Time is an argument.

use crate::domain::time::{Millis, SECOND};

/// A turn of the loop that is later than this tells of a process or machine that stood still: what was sent
/// meanwhile may not have reached the socket yet, so that an empty one proves nothing.
const LATE: Millis = 50;
/// For so long only a frame's stamp proves that everything before it was read.
const STALLED: Millis = SECOND;
/// Between two questions: the executor learns of what has arrived only when it looks.
const AGAIN: Millis = 1;

/// The questions of one connection. Local times; `Millis::MAX` is never.
#[derive(Debug)]
pub struct Evidence {
    /// When the next boundary could close.
    due: Millis,
    is_answered: bool,
    not_before: Millis,
}

impl Evidence {
    /// Builds one that asks nothing until a boundary is known.
    pub const fn new() -> Self {
        Self { due: Millis::MAX, is_answered: false, not_before: Millis::MIN }
    }

    /// Takes note of when the next boundary could close.
    pub const fn expect(&mut self, due: Millis) {
        self.due = due;
        self.is_answered = false;
    }

    /// Returns when to ask next.
    pub fn next(&self) -> Millis {
        if self.is_answered { Millis::MAX } else { self.due.max(self.not_before) }
    }

    /// A turn of the loop that should have come at `planned` came at `now`.
    pub fn turn(&mut self, planned: Millis, now: Millis) {
        if now > planned.saturating_add(LATE) {
            self.not_before = now + STALLED;
        }
    }

    /// Takes the socket's answer at `now`: whether everything had been read.
    pub const fn answer(&mut self, now: Millis, is_drained: bool) {
        self.is_answered = is_drained;
        if !is_drained {
            self.not_before = now + AGAIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boundary_is_asked_for_once() {
        let mut evidence = Evidence::new();
        assert_eq!(evidence.next(), Millis::MAX);
        evidence.expect(1_000);
        assert_eq!(evidence.next(), 1_000);
        evidence.answer(1_000, true);
        assert_eq!(evidence.next(), Millis::MAX);
        evidence.expect(2_000);
        assert_eq!(evidence.next(), 2_000);
    }

    #[test]
    fn a_socket_that_holds_something_is_asked_again_soon() {
        let mut evidence = Evidence::new();
        evidence.expect(1_000);
        evidence.answer(1_003, false);
        assert_eq!(evidence.next(), 1_004);
    }

    #[test]
    fn after_a_stall_an_empty_socket_proves_nothing_for_a_second() {
        let mut evidence = Evidence::new();
        evidence.expect(1_000);
        evidence.turn(1_000, 1_050);
        assert_eq!(evidence.next(), 1_000, "as late as a busy machine may be");
        evidence.turn(1_000, 1_051);
        assert_eq!(evidence.next(), 2_051);
        evidence.expect(3_000);
        assert_eq!(evidence.next(), 3_000);
    }
}
