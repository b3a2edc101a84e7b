//! What is due to one client, in order, bounded in bytes. Knows nothing of sockets but "would block".
//!
//! Frames are shared bytes. Once the socket blocks, the updates of a series conflate to the newest; everything else is
//! kept until the bound is reached, and then the client has to go. A long answer waits as what it will be made of, and
//! its frames are made as the socket takes them: it counts against the bound, and costs next to nothing.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// Frames handed to the socket in one call.
const SLICES: usize = 32;
/// What a waiting frame takes on top of its bytes.
const OVERHEAD: usize = 64;
/// How many times the bound all answers together may be once they are made.
const ANSWERS: usize = 8;
/// What the push of a kline may take, its name, its wrapping and [`OVERHEAD`] included.
const PUSH: usize = 640 + OVERHEAD;
/// Pieces of answers that are made before the socket is left to whoever waits for it.
const PIECES: usize = 4;

/// What a frame may be dropped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Has to arrive.
    Firm,
    /// The same, with this number of closed klines, which are counted when they do not arrive.
    Closed(u32),
    /// The answer to a ping: only the newest matters.
    Pong,
    /// How the feeds stand: only the newest matters.
    Status,
    /// Worth nothing once a newer one of the same series follows.
    Update(TopicId),
}

/// Frames that are made when their turn comes.
pub trait LongAnswer: Send + fmt::Debug {
    /// Makes the next frames, one or more; `None` after the last.
    fn next_frames(&mut self) -> Option<Bytes>;

    /// Bytes that it takes while it waits.
    fn held(&self) -> usize;

    /// Bytes of all its frames, at most.
    fn length(&self) -> usize;
}

/// Number of a topic on the server's board: a series of klines, or of a consumer's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// The queue was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
enum Entry {
    Frame(Kind, Bytes),
    Answer {
        answer: Box<dyn LongAnswer>,
        /// Both as they were when it came, so that what is added is what is taken off.
        held: usize,
        length: usize,
    },
    /// Frames of an answer that follows, on their way to the socket.
    Piece(Bytes),
}

/// Frames that wait for the socket.
#[derive(Debug)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    /// What all entries take but pieces, of which there is at most one.
    bytes: usize,
    /// What the answers among them will come to.
    answers: usize,
    most: usize,
    /// What the followed topics may bring within two boundaries.
    due: usize,
    /// The first entry is partly written and can neither be dropped nor replaced.
    begun: bool,
    /// The socket did not take everything the last time.
    blocked: bool,
}

impl Entry {
    /// What is to be written of it, if it is made.
    const fn frame(&self) -> Option<&Bytes> {
        match self {
            Self::Frame(_, frame) | Self::Piece(frame) => Some(frame),
            Self::Answer { .. } => None,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Frame(_, frame) => frame.len() + OVERHEAD,
            Self::Answer { held, .. } => held + OVERHEAD,
            Self::Piece(_) => 0,
        }
    }

    const fn closed(&self) -> u64 {
        match self {
            Self::Frame(kind, _) => kind.closed(),
            Self::Answer { .. } | Self::Piece(_) => 0,
        }
    }
}

impl Kind {
    /// Closed klines in such a frame.
    #[must_use]
    pub const fn closed(self) -> u64 {
        match self {
            // A cast, since `From` is not const; it widens.
            Self::Closed(number) => number as u64,
            Self::Firm | Self::Pong | Self::Status | Self::Update(_) => 0,
        }
    }
}

impl Outbox {
    /// Builds an empty queue of at most `most` bytes, or of what two boundaries bring, whichever is more.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, answers: 0, most, due: 0, begun: false, blocked: false }
    }

    /// Adds a frame.
    ///
    /// # Errors
    /// [`Full`]: the frame does not fit and was not added.
    pub fn push(&mut self, kind: Kind, frame: Bytes) -> Result<(), Full> {
        if matches!(kind, Kind::Pong | Kind::Status) || (self.blocked && matches!(kind, Kind::Update(_))) {
            self.forget(kind);
        }
        self.add(Entry::Frame(kind, frame))
    }

    /// Adds an answer whose frames are made when their turn comes.
    ///
    /// # Errors
    /// [`Full`]: what it is made of does not fit, and it was not added.
    pub fn answer(&mut self, answer: Box<dyn LongAnswer>) -> Result<(), Full> {
        let (held, length) = (answer.held(), answer.length());
        self.add(Entry::Answer { answer, held, length })?;
        self.answers += length;
        Ok(())
    }

    fn add(&mut self, entry: Entry) -> Result<(), Full> {
        // A batch of many klines may be longer than the bound: there is room for two.
        let most = self.most.max(self.due).max(2 * entry.cost());
        if self.bytes + entry.cost() > most && !self.entries.is_empty() {
            return Err(Full);
        }
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        Ok(())
    }

    /// Bytes that the frames of one more answer may come to.
    #[must_use]
    pub const fn room_for_answer(&self) -> usize {
        self.most.saturating_mul(ANSWERS).saturating_sub(self.answers)
    }

    /// Notes how many topics bring pushes.
    pub const fn expect(&mut self, topics: usize) {
        self.due = topics.saturating_mul(2 * PUSH);
    }

    /// Closed klines that wait.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.entries.iter().map(Entry::closed).sum()
    }

    /// Drops everything that need not arrive before the last frame, which is `frame`. Returns how many closed klines.
    pub fn end_with(&mut self, frame: Bytes) -> u64 {
        let before = self.closed();
        self.entries.truncate(usize::from(self.begun));
        let dropped = before - self.closed();
        self.entries.push_back(Entry::Frame(Kind::Firm, frame));
        self.bytes = self.entries.iter().map(Entry::cost).sum();
        self.answers = 0;
        dropped
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that wait, and what they take on top of that.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes as much as `write` takes, several frames a call. Returns whether everything is written; if not, the
    /// socket is full, or a long answer has had its turn.
    ///
    /// # Errors
    /// What `write` fails with, other than that it would block.
    pub fn drain(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<bool> {
        let mut pieces = 0;
        loop {
            match self.entries.front() {
                None => break,
                Some(Entry::Answer { .. }) if pieces == PIECES => return Ok(false),
                Some(Entry::Answer { .. }) => {
                    pieces += 1;
                    self.make_piece();
                    continue;
                }
                Some(_) => {}
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut filled = 0;
            for (slice, frame) in slices.iter_mut().zip(self.entries.iter().map_while(Entry::frame)) {
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
        if self.entries.capacity() > SLICES {
            // A burst is over: an idle client holds next to nothing.
            self.entries = VecDeque::new();
        }
        Ok(true)
    }

    /// Puts the next frames of the answer at the front before it, or takes the answer out if there are none.
    fn make_piece(&mut self) {
        let Some(Entry::Answer { answer, length, .. }) = self.entries.front_mut() else { return };
        match answer.next_frames() {
            Some(frames) => self.entries.push_front(Entry::Piece(frames)),
            None => {
                self.answers = self.answers.saturating_sub(*length);
                self.remove(0);
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(Entry::Frame(_, frame) | Entry::Piece(frame)) = self.entries.front_mut() {
            if written < frame.len() {
                frame.advance(written);
                self.begun |= written > 0;
                let is_piece = matches!(self.entries.front(), Some(Entry::Piece(_)));
                self.bytes -= if is_piece { 0 } else { written };
                return;
            }
            written -= frame.len();
            self.remove(0);
            self.begun = false;
        }
    }

    /// Takes out the older update of the same series.
    fn forget(&mut self, kind: Kind) {
        let from = usize::from(self.begun);
        let is_older = |entry: &Entry| matches!(entry, Entry::Frame(other, _) if *other == kind);
        if let Some(at) = self.entries.iter().skip(from).rposition(is_older) {
            self.remove(from + at);
        }
    }

    fn remove(&mut self, at: usize) {
        self.bytes -= self.entries.remove(at).map_or(0, |entry| entry.cost());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPDATE: Kind = Kind::Update(TopicId(7));

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
        outbox.push(Kind::Update(TopicId(8)), Bytes::from_static(b"V")).unwrap();
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

    /// An answer of so many frames of 100 bytes, which takes 20 bytes while it waits.
    #[derive(Debug)]
    struct Hundreds(usize);

    impl LongAnswer for Hundreds {
        fn next_frames(&mut self) -> Option<Bytes> {
            self.0 = self.0.checked_sub(1)?;
            Some(Bytes::from_static(&[b'a'; 100]))
        }

        fn held(&self) -> usize {
            20
        }

        fn length(&self) -> usize {
            self.0 * 100
        }
    }

    #[test]
    fn answers_count_in_the_bound_with_what_they_take_and_are_made_in_their_turn() {
        let mut outbox = Outbox::new(1_000);
        outbox.push(Kind::Firm, Bytes::from_static(b"first")).unwrap();
        // The first takes 69 bytes, each answer 84.
        (0..11).for_each(|_| outbox.answer(Box::new(Hundreds(6))).unwrap());
        assert_eq!(outbox.answer(Box::new(Hundreds(0))), Err(Full));
        assert_eq!(outbox.push(Kind::Firm, Bytes::from_static(b"x")), Err(Full));
        assert_eq!((outbox.bytes(), outbox.room_for_answer()), (69 + 11 * 84, 8_000 - 11 * 600));
        let mut out = vec![];
        assert!(!outbox.drain(socket(&mut out, 5 + 50)).unwrap());
        let made = outbox.entries.iter().filter_map(Entry::frame).map(Bytes::len).sum::<usize>();
        assert_eq!((outbox.bytes(), made), (11 * 84, 50), "no more is made than the socket has begun with");
        outbox.push(UPDATE, Bytes::from_static(b"last")).unwrap();
        while !outbox.drain(socket(&mut out, 99_999)).unwrap() {}
        assert_eq!((out.len(), outbox.bytes(), outbox.room_for_answer()), (5 + 11 * 600 + 4, 0, 8_000));
        assert!(out.starts_with(b"firsta") && out.ends_with(b"alast"));
    }

    #[test]
    fn a_long_answer_lets_go_of_the_thread_now_and_then() {
        let (mut outbox, mut out) = (Outbox::new(1_000), vec![]);
        outbox.answer(Box::new(Hundreds(100))).unwrap();
        assert!(!outbox.drain(socket(&mut out, 99_999)).unwrap());
        assert_eq!(out.len(), PIECES * 100);
    }

    #[test]
    fn the_last_word_cuts_a_long_answer_short_after_the_piece_that_has_begun() {
        let (mut outbox, mut out) = (Outbox::new(1_000), vec![]);
        outbox.answer(Box::new(Hundreds(100))).unwrap();
        assert!(!outbox.drain(socket(&mut out, 130)).unwrap());
        outbox.end_with(Bytes::from_static(b"END"));
        assert!(outbox.drain(socket(&mut out, 99_999)).unwrap());
        assert_eq!((out.len(), outbox.bytes()), (203, 0));
    }

    #[test]
    fn pongs_and_states_of_feeds_do_not_pile_up() {
        let mut outbox = outbox(&[(Kind::Firm, "abc")]);
        for state in (b'0'..=b'9').map(|digit| Bytes::copy_from_slice(&[digit])) {
            outbox.push(Kind::Pong, Bytes::from_static(b"pong")).unwrap();
            outbox.push(Kind::Status, state).unwrap();
        }
        let mut out = vec![];
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"abcpong9");
    }

    #[test]
    fn two_pushes_of_each_topic_have_room() {
        let mut outbox = Outbox::new(4);
        outbox.expect(100);
        let push = Bytes::from_static(&[b'a'; PUSH - OVERHEAD]);
        (0..200).for_each(|_| outbox.push(Kind::Closed(1), push.clone()).unwrap());
        assert_eq!(outbox.push(Kind::Closed(1), push), Err(Full));
        assert_eq!((outbox.closed(), outbox.room_for_answer()), (200, 4 * ANSWERS));
    }

    #[test]
    fn the_bound_holds_and_the_last_word_still_fits() {
        let mut outbox = Outbox::new(4);
        outbox.push(Kind::Closed(3), Bytes::from_static(b"longer than four")).unwrap();
        outbox.push(Kind::Closed(4), Bytes::from_static(b"longer than four")).unwrap();
        assert_eq!(outbox.push(Kind::Firm, Bytes::from_static(b"longer than four")), Err(Full), "room for two");
        assert_eq!(outbox.push(Kind::Firm, Bytes::from_static(b"x")), Err(Full));
        let mut out = vec![];
        assert!(!outbox.drain(socket(&mut out, 3)).unwrap());
        assert_eq!(outbox.closed(), 7);
        assert_eq!(outbox.end_with(Bytes::from_static(b"END")), 4, "the first is on its way");
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"longer than fourEND");
    }
}
