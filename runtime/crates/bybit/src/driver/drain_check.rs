//! Decides when to ask a socket whether everything that arrived has been read: once for each boundary, when the
//! pipeline could close it. Time is an argument.

use klines_domain::time::{LocalMillis, Millis, SECOND};

use crate::connect::Unread;

/// If the loop turns later than this, the process or machine was paused: data that was sent meanwhile may not have
/// reached the socket yet, so that an empty socket proves nothing.
const LATE: Millis = 50;
/// For this long after a stall, only the timestamp of a frame proves that everything before it was read.
const STALL_WAIT: Millis = SECOND;
/// Longest wait for the rest of a partial frame; data that takes longer counts as late.
const PART_WAIT: Millis = SECOND;
/// Time between two checks: the executor notices new data only when it polls.
const RETRY: Millis = 1;

/// The checks of one connection, in local time; `LocalMillis::MAX` means never.
#[derive(Debug)]
pub struct DrainCheck {
    /// When the next boundary could be closed.
    due: LocalMillis,
    is_answered: bool,
    not_before: LocalMillis,
    /// When the loop was first late since this boundary was due. A machine that stays busy waits only once for it.
    late: Option<LocalMillis>,
    /// When a partial frame was first found for this boundary.
    part: Option<LocalMillis>,
}

impl DrainCheck {
    /// Creates a check that is never due until a boundary is scheduled.
    pub const fn new() -> Self {
        Self { due: LocalMillis::MAX, is_answered: false, not_before: LocalMillis::MIN, late: None, part: None }
    }

    /// Sets the time at which the next boundary could be closed.
    pub const fn schedule(&mut self, due: LocalMillis) {
        self.due = due;
        self.is_answered = false;
        (self.late, self.part) = (None, None);
    }

    /// Returns the time of the next check.
    pub fn next(&self) -> LocalMillis {
        if self.is_answered { LocalMillis::MAX } else { self.due.max(self.not_before) }
    }

    /// Handles a turn of the loop at `now` that was planned for `planned`. Returns whether it was late.
    pub fn on_turn(&mut self, planned: LocalMillis, now: LocalMillis) -> bool {
        let is_late = now > planned.saturating_add(LATE);
        if is_late && now < self.due {
            self.not_before = now + STALL_WAIT;
        } else if is_late {
            if now > planned.saturating_add(STALL_WAIT) {
                self.late = None;
            }
            self.not_before = *self.late.get_or_insert(now) + STALL_WAIT;
        }
        is_late
    }

    /// Handles the socket's answer at `now`. Returns whether everything that arrived has been read.
    pub fn on_answer(&mut self, now: LocalMillis, unread: Unread) -> bool {
        self.is_answered = match unread {
            Unread::Nothing => true,
            Unread::PartialFrame => now - *self.part.get_or_insert(now) >= PART_WAIT,
            Unread::Bytes => false,
        };
        if !self.is_answered {
            self.not_before = now + RETRY;
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
    fn each_boundary_is_checked_once() {
        let mut check = DrainCheck::new();
        assert_eq!(check.next(), LocalMillis::MAX);
        check.schedule(at(1_000));
        assert_eq!(check.next(), at(1_000));
        assert!(check.on_answer(at(1_000), Unread::Nothing));
        assert_eq!(check.next(), LocalMillis::MAX);
        check.schedule(at(2_000));
        assert_eq!(check.next(), at(2_000));
    }

    #[test]
    fn a_socket_with_unread_bytes_is_checked_again_soon() {
        let mut check = DrainCheck::new();
        check.schedule(at(1_000));
        assert!(!check.on_answer(at(1_003), Unread::Bytes));
        assert_eq!(check.next(), at(1_004));
    }

    #[test]
    fn the_rest_of_a_partial_frame_is_awaited_for_a_second() {
        let mut check = DrainCheck::new();
        check.schedule(at(1_000));
        assert!(!check.on_answer(at(1_003), Unread::PartialFrame));
        assert_eq!(check.next(), at(1_004));
        assert!(!check.on_answer(at(2_002), Unread::PartialFrame));
        assert!(!check.on_answer(at(2_003), Unread::Bytes));
        assert!(check.on_answer(at(2_004), Unread::PartialFrame));
        check.schedule(at(3_000));
        assert!(!check.on_answer(at(3_000), Unread::PartialFrame));
        assert!(check.on_answer(at(3_001), Unread::Nothing));
    }

    #[test]
    fn after_a_stall_an_empty_socket_proves_nothing_for_a_second() {
        let mut check = DrainCheck::new();
        check.schedule(at(1_000));
        assert!(!check.on_turn(at(1_000), at(1_050)));
        assert_eq!(check.next(), at(1_000), "the latest turn that is not late");
        assert!(check.on_turn(at(1_000), at(1_051)));
        assert_eq!(check.next(), at(2_051));
        check.schedule(at(3_000));
        assert_eq!(check.next(), at(3_000));
    }

    #[test]
    fn a_machine_that_is_late_at_every_turn_waits_one_second_for_each_boundary() {
        let mut check = DrainCheck::new();
        check.schedule(at(1_000));
        for turn in 1..=30 {
            assert!(check.on_turn(at(turn * 100), at(turn * 100 + 60)));
        }
        assert_eq!(check.next(), at(2_060));
        check.schedule(at(4_000));
        assert!(check.on_turn(at(3_900), at(3_960)));
        assert_eq!(check.next(), at(4_960));
    }

    #[test]
    fn a_late_turn_long_before_the_boundary_does_not_shorten_its_wait() {
        let mut check = DrainCheck::new();
        check.schedule(at(60_080));
        assert!(check.on_turn(at(5_000), at(5_060)));
        assert!(check.on_turn(at(58_000), at(68_000)));
        assert_eq!(check.next(), at(69_000));
        assert!(check.on_turn(at(68_500), at(68_560)));
        assert_eq!(check.next(), at(69_000));
        // A stall of more than a second starts the wait again.
        assert!(check.on_turn(at(68_900), at(75_000)));
        assert_eq!(check.next(), at(76_000));
    }
}
