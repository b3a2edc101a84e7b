//! When to ask a socket whether everything that arrived has been read: once for each boundary, when the pipeline could
//! close it. Time is an argument.

use klines_domain::time::{LocalMillis, Millis, SECOND};

use crate::connect::Unread;

/// A turn of the loop that is later than this tells of a process or machine that stood still: what was sent
/// meanwhile may not have reached the socket yet, so that an empty one proves nothing.
const LATE: Millis = 50;
/// For so long only a frame's stamp proves that everything before it was read.
const STALLED: Millis = SECOND;
/// For so long the rest of a frame is waited for: what the network holds back longer is late.
const PART: Millis = SECOND;
/// Between two questions: the executor learns of what has arrived only when it looks.
const AGAIN: Millis = 1;

/// The questions of one connection. Local times; `LocalMillis::MAX` is never.
#[derive(Debug)]
pub struct Evidence {
    /// When the next boundary could close.
    due: LocalMillis,
    is_answered: bool,
    not_before: LocalMillis,
    /// When a turn was first late since this boundary could close: a machine that stays busy waits once.
    late: Option<LocalMillis>,
    /// When a part of a frame was first found since then.
    part: Option<LocalMillis>,
}

impl Evidence {
    /// Builds one that asks nothing until a boundary is known.
    pub const fn new() -> Self {
        Self { due: LocalMillis::MAX, is_answered: false, not_before: LocalMillis::MIN, late: None, part: None }
    }

    /// Takes note of when the next boundary could close.
    pub const fn expect(&mut self, due: LocalMillis) {
        self.due = due;
        self.is_answered = false;
        (self.late, self.part) = (None, None);
    }

    /// Returns when to ask next.
    pub fn next(&self) -> LocalMillis {
        if self.is_answered { LocalMillis::MAX } else { self.due.max(self.not_before) }
    }

    /// A turn of the loop that should have come at `planned` came at `now`. Returns whether that is late.
    pub fn turn(&mut self, planned: LocalMillis, now: LocalMillis) -> bool {
        let is_late = now > planned.saturating_add(LATE);
        if is_late && now < self.due {
            self.not_before = now + STALLED;
        } else if is_late {
            if now > planned.saturating_add(STALLED) {
                self.late = None;
            }
            self.not_before = *self.late.get_or_insert(now) + STALLED;
        }
        is_late
    }

    /// Takes the socket's answer at `now`. Returns whether everything that arrived has been read.
    pub fn answer(&mut self, now: LocalMillis, unread: Unread) -> bool {
        self.is_answered = match unread {
            Unread::Nothing => true,
            Unread::Part => now - *self.part.get_or_insert(now) >= PART,
            Unread::Bytes => false,
        };
        if !self.is_answered {
            self.not_before = now + AGAIN;
        }
        self.is_answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: Millis) -> LocalMillis {
        LocalMillis::new(millis)
    }

    #[test]
    fn each_boundary_is_asked_for_once() {
        let mut evidence = Evidence::new();
        assert_eq!(evidence.next(), LocalMillis::MAX);
        evidence.expect(at(1_000));
        assert_eq!(evidence.next(), at(1_000));
        assert!(evidence.answer(at(1_000), Unread::Nothing));
        assert_eq!(evidence.next(), LocalMillis::MAX);
        evidence.expect(at(2_000));
        assert_eq!(evidence.next(), at(2_000));
    }

    #[test]
    fn a_socket_that_holds_something_is_asked_again_soon() {
        let mut evidence = Evidence::new();
        evidence.expect(at(1_000));
        assert!(!evidence.answer(at(1_003), Unread::Bytes));
        assert_eq!(evidence.next(), at(1_004));
    }

    #[test]
    fn the_rest_of_a_frame_is_waited_for_a_second() {
        let mut evidence = Evidence::new();
        evidence.expect(at(1_000));
        assert!(!evidence.answer(at(1_003), Unread::Part));
        assert_eq!(evidence.next(), at(1_004));
        assert!(!evidence.answer(at(2_002), Unread::Part));
        assert!(!evidence.answer(at(2_003), Unread::Bytes));
        assert!(evidence.answer(at(2_004), Unread::Part));
        evidence.expect(at(3_000));
        assert!(!evidence.answer(at(3_000), Unread::Part));
        assert!(evidence.answer(at(3_001), Unread::Nothing));
    }

    #[test]
    fn after_a_stall_an_empty_socket_proves_nothing_for_a_second() {
        let mut evidence = Evidence::new();
        evidence.expect(at(1_000));
        assert!(!evidence.turn(at(1_000), at(1_050)));
        assert_eq!(evidence.next(), at(1_000), "as late as a busy machine may be");
        assert!(evidence.turn(at(1_000), at(1_051)));
        assert_eq!(evidence.next(), at(2_051));
        evidence.expect(at(3_000));
        assert_eq!(evidence.next(), at(3_000));
    }

    #[test]
    fn a_machine_that_is_late_at_every_turn_waits_a_second_for_a_boundary_and_no_more() {
        let mut evidence = Evidence::new();
        evidence.expect(at(1_000));
        for turn in 1..=30 {
            assert!(evidence.turn(at(turn * 100), at(turn * 100 + 60)));
        }
        assert_eq!(evidence.next(), at(2_060));
        evidence.expect(at(4_000));
        assert!(evidence.turn(at(3_900), at(3_960)));
        assert_eq!(evidence.next(), at(4_960));
    }

    #[test]
    fn a_turn_that_is_late_long_before_the_boundary_does_not_use_up_its_second() {
        let mut evidence = Evidence::new();
        evidence.expect(at(60_080));
        assert!(evidence.turn(at(5_000), at(5_060)));
        assert!(evidence.turn(at(58_000), at(68_000)));
        assert_eq!(evidence.next(), at(69_000));
        assert!(evidence.turn(at(68_500), at(68_560)));
        assert_eq!(evidence.next(), at(69_000));
        // A stall as long as that is one of its own.
        assert!(evidence.turn(at(68_900), at(75_000)));
        assert_eq!(evidence.next(), at(76_000));
    }
}
