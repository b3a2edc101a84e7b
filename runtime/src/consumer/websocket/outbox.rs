//! What is due to one client, in order, bounded in bytes. Knows nothing of sockets but "would block".
//!
//! Frames are shared bytes. Once the socket blocks, the updates of a series conflate to the newest; everything else is
//! kept until the bound is reached, and then the client has to go.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Frames handed to the socket in one call.
const SLICES: usize = 32;
/// What a waiting frame takes beside its bytes.
const OVERHEAD: usize = 64;
/// How many times the bound all answers together may be.
const ANSWERS: usize = 8;

/// What a frame may be dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has to arrive.
    Firm,
    /// Belongs to an answer that was asked for, and was measured before it was made: it does not count against the
    /// bound, so that the server's own burst does not make a client a slow one.
    Answer,
    /// The answer to a ping: only the newest matters.
    Pong,
    /// Worth nothing once a newer one of the same series follows.
    Update(SeriesId),
}

/// Number of a series on the server's board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// The queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Frames that wait for the socket.
#[derive(Debug)]
pub struct Outbox {
    frames: VecDeque<(Kind, Bytes)>,
    /// Bytes of all frames but those of answers, and what they take beside.
    bytes: usize,
    /// The same of answers.
    answers: usize,
    most: usize,
    /// The first frame is partly written and can neither be dropped nor replaced.
    begun: bool,
    /// The socket did not take everything the last time.
    blocked: bool,
}

impl Outbox {
    /// Builds an empty queue of at most `most` bytes.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, answers: 0, most, begun: false, blocked: false }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// [`Full`]: the frame does not fit and was not added.
    pub fn push(&mut self, kind: Kind, frame: Bytes) -> Result<(), Full> {
        if kind == Kind::Pong || (self.blocked && matches!(kind, Kind::Update(_))) {
            self.forget(kind);
        }
        // A single frame may be longer than the bound: an empty queue takes it.
        if kind != Kind::Answer && self.bytes + frame.len() + OVERHEAD > self.most && !self.frames.is_empty() {
            return Err(Full);
        }
        *self.account(kind) += frame.len() + OVERHEAD;
        self.frames.push_back((kind, frame));
        Ok(())
    }

    /// Bytes that an answer may still have.
    #[must_use]
    pub const fn room_for_answer(&self) -> usize {
        self.most.saturating_mul(ANSWERS).saturating_sub(self.answers)
    }

    fn account(&mut self, kind: Kind) -> &mut usize {
        if kind == Kind::Answer { &mut self.answers } else { &mut self.bytes }
    }

    /// Drops everything that need not arrive before the last frame, which is `frame`.
    pub fn end_with(&mut self, frame: Bytes) {
        self.frames.truncate(usize::from(self.begun));
        self.frames.push_back((Kind::Firm, frame));
        (self.bytes, self.answers) = (0, 0);
        for (kind, length) in self.frames.iter().map(|(kind, frame)| (*kind, frame.len())).collect::<Vec<_>>() {
            *self.account(kind) += length + OVERHEAD;
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes that wait, and what they take beside.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes + self.answers
    }

    /// Writes as much as `write` takes, several frames a call. Returns whether everything is written.
    ///
    /// # Errors
    /// What `write` fails with, other than that it would block.
    pub fn drain(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<bool> {
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut filled = 0;
            for (slice, (_, frame)) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(frame);
                filled += 1;
            }
            match write(slices.get(..filled).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.blocked = false;
        if self.frames.capacity() > SLICES {
            // A burst is over: an idle client holds next to nothing.
            self.frames = VecDeque::new();
        }
        Ok(true)
    }

    fn advance(&mut self, mut written: usize) {
        while let Some((kind, frame)) = self.frames.front_mut() {
            let kind = *kind;
            if written < frame.len() {
                frame.advance(written);
                self.begun |= written > 0;
                *self.account(kind) -= written;
                return;
            }
            let length = frame.len();
            written -= length;
            *self.account(kind) -= length + OVERHEAD;
            self.frames.pop_front();
            self.begun = false;
        }
    }

    /// Takes out the older update of the same series.
    fn forget(&mut self, kind: Kind) {
        let from = usize::from(self.begun);
        let Some(at) = self.frames.iter().skip(from).rposition(|(other, _)| *other == kind) else { return };
        if let Some((kind, frame)) = self.frames.remove(from + at) {
            *self.account(kind) -= frame.len() + OVERHEAD;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: Kind = Kind::Update(SeriesId(7));

    /// Takes `room` bytes, then blocks.
    fn socket<'a>(out: &'a mut Vec<u8>, mut room: usize) -> impl FnMut(&[IoSlice<'_>]) -> io::Result<usize> + 'a {
        move |slices| {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = all.len().min(room);
            if taken == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            room -= taken;
            out.extend(&all[..taken]);
            Ok(taken)
        }
    }

    fn outbox(frames: &[(Kind, &'static str)]) -> Outbox {
        let mut outbox = Outbox::new(1_000);
        for (kind, frame) in frames {
            outbox.push(*kind, Bytes::from_static(frame.as_bytes())).unwrap();
        }
        outbox
    }

    #[test]
    fn frames_leave_in_order_however_the_socket_splits_them() {
        for room in 1..9 {
            let (mut outbox, mut out) = (outbox(&[(Kind::Firm, "abc"), (UPDATE, "de"), (Kind::Firm, "fgh")]), vec![]);
            while !outbox.drain(socket(&mut out, room)).unwrap() {}
            assert_eq!((out.as_slice(), outbox.bytes()), (b"abcdefgh".as_slice(), 0), "{room}");
        }
    }

    #[test]
    fn updates_of_a_blocked_client_conflate_to_the_newest() {
        let (mut outbox, mut out) = (outbox(&[(Kind::Firm, "abc"), (UPDATE, "U1")]), vec![]);
        assert!(!outbox.drain(socket(&mut out, 1)).unwrap());
        outbox.push(Kind::Firm, Bytes::from_static(b"C")).unwrap();
        outbox.push(UPDATE, Bytes::from_static(b"U2")).unwrap();
        outbox.push(Kind::Update(SeriesId(8)), Bytes::from_static(b"V")).unwrap();
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"abcCU2V");
    }

    #[test]
    fn a_half_written_update_is_finished() {
        let (mut outbox, mut out) = (outbox(&[(UPDATE, "U1")]), vec![]);
        assert!(!outbox.drain(socket(&mut out, 1)).unwrap());
        outbox.push(UPDATE, Bytes::from_static(b"U2")).unwrap();
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"U1U2");
    }

    #[test]
    fn answers_do_not_use_up_the_bound_and_pongs_do_not_pile_up() {
        let mut outbox = Outbox::new(1_000);
        for _ in 0..50 {
            outbox.push(Kind::Answer, Bytes::from_static(&[b'a'; 80])).unwrap();
            outbox.push(Kind::Pong, Bytes::from_static(b"pong")).unwrap();
        }
        assert_eq!(outbox.room_for_answer(), 8_000 - 50 * (80 + OVERHEAD));
        outbox.push(Kind::Firm, Bytes::from_static(&[b'f'; 700])).unwrap();
        assert_eq!(outbox.push(Kind::Firm, Bytes::from_static(&[b'f'; 700])), Err(Full));
        let mut out = vec![];
        assert!(outbox.drain(socket(&mut out, 99_999)).unwrap());
        assert_eq!((out.len(), outbox.bytes()), (50 * 80 + 4 + 700, 0));
    }

    #[test]
    fn the_bound_holds_and_the_last_word_still_fits() {
        let mut outbox = Outbox::new(4);
        outbox.push(Kind::Firm, Bytes::from_static(b"longer than four")).unwrap();
        assert_eq!(outbox.push(Kind::Firm, Bytes::from_static(b"x")), Err(Full));
        let mut out = vec![];
        assert!(!outbox.drain(socket(&mut out, 3)).unwrap());
        outbox.end_with(Bytes::from_static(b"END"));
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"longer than fourEND");
    }
}
