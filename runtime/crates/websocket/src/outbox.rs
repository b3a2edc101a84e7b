//! The queue of frames for one client, in order and bounded in bytes. Knows of sockets only that they may block.
//!
//! Frames are shared bytes. Once the socket blocks, the updates of a series conflate to the newest one. All other
//! frames are kept until the bound is reached; then the client is closed as slow. A long answer is queued as the
//! records that it consists of, and its frames are encoded as the socket takes them: it counts against the bound with
//! the memory that it uses, which is little.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

/// The maximum number of frames in one call to the socket.
const SLICES: usize = 32;
/// The memory of a queued frame in addition to its bytes.
const OVERHEAD: usize = 64;
/// All answers together may have this many times the bound once they are encoded.
const ANSWER_FACTOR: usize = 8;
/// The maximum memory of a kline's push, including the topic, the envelope and [`OVERHEAD`].
const MAX_PUSH: usize = 640 + OVERHEAD;
/// The number of chunks of answers that are encoded before other clients get their turn.
const CHUNKS_PER_TURN: usize = 4;

/// Decides when a frame may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// Must not be dropped.
    Required,
    /// Must not be dropped, and contains this number of closed klines, which are counted if they are not sent.
    Closed(u32),
    /// The answer to a ping: replaces an older one.
    Pong,
    /// The state of the feeds: replaces an older one.
    Status,
    /// An update of a series: may be replaced by a newer update of the same series.
    Update(TopicId),
}

/// An answer whose frames are encoded when the socket can take them.
pub trait LongAnswer: Send + fmt::Debug {
    /// Encodes the next frames, one or more; returns `None` after the last.
    fn next_frames(&mut self) -> Option<Bytes>;

    /// Returns the memory that the answer uses while it is queued, bytes.
    fn held(&self) -> usize;

    /// Returns the maximum size of all its frames, bytes.
    fn length(&self) -> usize;
}

/// The number of a topic in the server's subscriptions: a series of klines or of a consumer's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u32);

/// The outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Debug)]
enum Entry {
    Frame(FrameKind, Bytes),
    Answer {
        answer: Box<dyn LongAnswer>,
        /// Both are stored when the answer is added, so that the same amounts are subtracted when it is removed.
        held: usize,
        length: usize,
    },
    /// Encoded frames of the answer in the next entry.
    Chunk(Bytes),
}

/// The queue of frames that wait for the socket.
#[derive(Debug)]
pub struct Outbox {
    entries: VecDeque<Entry>,
    /// The memory of all entries except the chunk, of which there is at most one.
    bytes: usize,
    /// The maximum size of the queued answers once they are encoded.
    answer_bytes: usize,
    /// The configured bound, bytes.
    most: usize,
    /// The maximum size of the pushes of all subscribed topics within two boundaries.
    topic_bytes: usize,
    /// Whether the first entry is partly written and can be neither dropped nor replaced.
    is_front_started: bool,
    /// Whether the socket did not take everything the last time.
    blocked: bool,
}

impl Entry {
    /// Returns the bytes that are still to be written; `None` for an answer, which is not encoded yet.
    const fn frame(&self) -> Option<&Bytes> {
        match self {
            Self::Frame(_, frame) | Self::Chunk(frame) => Some(frame),
            Self::Answer { .. } => None,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Frame(_, frame) => frame.len() + OVERHEAD,
            Self::Answer { held, .. } => held + OVERHEAD,
            Self::Chunk(_) => 0,
        }
    }

    const fn closed(&self) -> u64 {
        match self {
            Self::Frame(kind, _) => kind.closed(),
            Self::Answer { .. } | Self::Chunk(_) => 0,
        }
    }
}

impl FrameKind {
    /// Returns the number of closed klines in a frame of this kind.
    #[must_use]
    pub const fn closed(self) -> u64 {
        match self {
            // `From` is not const; the cast only widens.
            Self::Closed(number) => number as u64,
            Self::Required | Self::Pong | Self::Status | Self::Update(_) => 0,
        }
    }
}

impl Outbox {
    /// Creates an empty queue of at most `most` bytes, or of the pushes of two boundaries if these are larger.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            answer_bytes: 0,
            most,
            topic_bytes: 0,
            is_front_started: false,
            blocked: false,
        }
    }

    /// Enqueues a frame.
    ///
    /// # Errors
    /// [`Full`]: the frame does not fit and was not added.
    pub fn push(&mut self, kind: FrameKind, frame: Bytes) -> Result<(), Full> {
        if matches!(kind, FrameKind::Pong | FrameKind::Status) || (self.blocked && matches!(kind, FrameKind::Update(_)))
        {
            self.remove_older(kind);
        }
        self.add(Entry::Frame(kind, frame))
    }

    /// Enqueues an answer whose frames are encoded when the socket can take them.
    ///
    /// # Errors
    /// [`Full`]: the answer's memory does not fit, and it was not added.
    pub fn answer(&mut self, answer: Box<dyn LongAnswer>) -> Result<(), Full> {
        let (held, length) = (answer.held(), answer.length());
        self.add(Entry::Answer { answer, held, length })?;
        self.answer_bytes += length;
        Ok(())
    }

    fn add(&mut self, entry: Entry) -> Result<(), Full> {
        // A batch of many klines may be larger than the bound: there is always room for two.
        let most = self.most.max(self.topic_bytes).max(2 * entry.cost());
        if self.bytes + entry.cost() > most && !self.entries.is_empty() {
            return Err(Full);
        }
        self.bytes += entry.cost();
        self.entries.push_back(entry);
        Ok(())
    }

    /// Returns the maximum size of the frames of the next answer, bytes.
    #[must_use]
    pub const fn room_for_answer(&self) -> usize {
        self.most.saturating_mul(ANSWER_FACTOR).saturating_sub(self.answer_bytes)
    }

    /// Sets the number of subscribed topics.
    pub const fn set_topics(&mut self, topics: usize) {
        self.topic_bytes = topics.saturating_mul(2 * MAX_PUSH);
    }

    /// Returns the number of closed klines in the queue.
    #[must_use]
    pub fn closed(&self) -> u64 {
        self.entries.iter().map(Entry::closed).sum()
    }

    /// Drops all entries except a partly written one and enqueues `frame` as the last. Returns the number of dropped
    /// closed klines.
    pub fn end_with(&mut self, frame: Bytes) -> u64 {
        let before = self.closed();
        self.entries.truncate(usize::from(self.is_front_started));
        let dropped = before - self.closed();
        self.entries.push_back(Entry::Frame(FrameKind::Required, frame));
        self.bytes = self.entries.iter().map(Entry::cost).sum();
        self.answer_bytes = 0;
        dropped
    }

    /// Returns whether the queue is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the memory of the queued entries, bytes.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes as much as `write` takes, several frames a call. Returns whether everything is written; if not, the
    /// socket is full, or a long answer has used up its turn.
    ///
    /// # Errors
    /// An error of `write` other than `WouldBlock` and `Interrupted`.
    pub fn drain(&mut self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<bool> {
        let mut chunks = 0;
        loop {
            match self.entries.front() {
                None => break,
                Some(Entry::Answer { .. }) if chunks == CHUNKS_PER_TURN => return Ok(false),
                Some(Entry::Answer { .. }) => {
                    chunks += 1;
                    self.make_chunk();
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
            // Free the memory after a burst: an idle client should use almost none.
            self.entries = VecDeque::new();
        }
        Ok(true)
    }

    /// Inserts the next frames of the first entry's answer before it, or removes the answer if there are none.
    fn make_chunk(&mut self) {
        let Some(Entry::Answer { answer, length, .. }) = self.entries.front_mut() else { return };
        match answer.next_frames() {
            Some(frames) => self.entries.push_front(Entry::Chunk(frames)),
            None => {
                self.answer_bytes = self.answer_bytes.saturating_sub(*length);
                self.remove(0);
            }
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(Entry::Frame(_, frame) | Entry::Chunk(frame)) = self.entries.front_mut() {
            if written < frame.len() {
                frame.advance(written);
                self.is_front_started |= written > 0;
                let is_chunk = matches!(self.entries.front(), Some(Entry::Chunk(_)));
                self.bytes -= if is_chunk { 0 } else { written };
                return;
            }
            written -= frame.len();
            self.remove(0);
            self.is_front_started = false;
        }
    }

    /// Removes the older frame of the same kind, which for updates means of the same series.
    fn remove_older(&mut self, kind: FrameKind) {
        let from = usize::from(self.is_front_started);
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

    const UPDATE: FrameKind = FrameKind::Update(TopicId(7));

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

    fn outbox(frames: &[(FrameKind, &'static str)]) -> Outbox {
        let mut outbox = Outbox::new(1_000);
        for (kind, frame) in frames {
            outbox.push(*kind, Bytes::from_static(frame.as_bytes())).unwrap();
        }
        outbox
    }

    #[test]
    fn frames_are_written_in_order_however_the_socket_splits_them() {
        for room in 1..9 {
            let (mut outbox, mut out) =
                (outbox(&[(FrameKind::Required, "abc"), (UPDATE, "de"), (FrameKind::Required, "fgh")]), vec![]);
            while !outbox.drain(socket(&mut out, room)).unwrap() {}
            assert_eq!((out.as_slice(), outbox.bytes()), (b"abcdefgh".as_slice(), 0), "{room}");
        }
    }

    #[test]
    fn updates_of_a_blocked_client_conflate_to_the_newest() {
        let (mut outbox, mut out) = (outbox(&[(FrameKind::Required, "abc"), (UPDATE, "U1")]), vec![]);
        assert!(!outbox.drain(socket(&mut out, 1)).unwrap());
        outbox.push(FrameKind::Required, Bytes::from_static(b"C")).unwrap();
        outbox.push(UPDATE, Bytes::from_static(b"U2")).unwrap();
        outbox.push(FrameKind::Update(TopicId(8)), Bytes::from_static(b"V")).unwrap();
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

    /// An answer of this number of frames of 100 bytes, which uses 20 bytes while it is queued.
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
    fn answers_count_with_the_memory_they_use_and_are_encoded_in_order() {
        let mut outbox = Outbox::new(1_000);
        outbox.push(FrameKind::Required, Bytes::from_static(b"first")).unwrap();
        // The first frame uses 69 bytes, each answer 84.
        (0..11).for_each(|_| outbox.answer(Box::new(Hundreds(6))).unwrap());
        assert_eq!(outbox.answer(Box::new(Hundreds(0))), Err(Full));
        assert_eq!(outbox.push(FrameKind::Required, Bytes::from_static(b"x")), Err(Full));
        assert_eq!((outbox.bytes(), outbox.room_for_answer()), (69 + 11 * 84, 8_000 - 11 * 600));
        let mut out = vec![];
        assert!(!outbox.drain(socket(&mut out, 5 + 50)).unwrap());
        let made = outbox.entries.iter().filter_map(Entry::frame).map(Bytes::len).sum::<usize>();
        assert_eq!((outbox.bytes(), made), (11 * 84, 50), "only the chunk that the socket has started is encoded");
        outbox.push(UPDATE, Bytes::from_static(b"last")).unwrap();
        while !outbox.drain(socket(&mut out, 99_999)).unwrap() {}
        assert_eq!((out.len(), outbox.bytes(), outbox.room_for_answer()), (5 + 11 * 600 + 4, 0, 8_000));
        assert!(out.starts_with(b"firsta") && out.ends_with(b"alast"));
    }

    #[test]
    fn a_long_answer_yields_the_thread_after_some_chunks() {
        let (mut outbox, mut out) = (Outbox::new(1_000), vec![]);
        outbox.answer(Box::new(Hundreds(100))).unwrap();
        assert!(!outbox.drain(socket(&mut out, 99_999)).unwrap());
        assert_eq!(out.len(), CHUNKS_PER_TURN * 100);
    }

    #[test]
    fn the_close_frame_ends_a_long_answer_after_the_started_chunk() {
        let (mut outbox, mut out) = (Outbox::new(1_000), vec![]);
        outbox.answer(Box::new(Hundreds(100))).unwrap();
        assert!(!outbox.drain(socket(&mut out, 130)).unwrap());
        outbox.end_with(Bytes::from_static(b"END"));
        assert!(outbox.drain(socket(&mut out, 99_999)).unwrap());
        assert_eq!((out.len(), outbox.bytes()), (203, 0));
    }

    #[test]
    fn pongs_and_feed_states_replace_older_ones() {
        let mut outbox = outbox(&[(FrameKind::Required, "abc")]);
        for state in (b'0'..=b'9').map(|digit| Bytes::copy_from_slice(&[digit])) {
            outbox.push(FrameKind::Pong, Bytes::from_static(b"pong")).unwrap();
            outbox.push(FrameKind::Status, state).unwrap();
        }
        let mut out = vec![];
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"abcpong9");
    }

    #[test]
    fn two_pushes_of_each_topic_fit() {
        let mut outbox = Outbox::new(4);
        outbox.set_topics(100);
        let push = Bytes::from_static(&[b'a'; MAX_PUSH - OVERHEAD]);
        (0..200).for_each(|_| outbox.push(FrameKind::Closed(1), push.clone()).unwrap());
        assert_eq!(outbox.push(FrameKind::Closed(1), push), Err(Full));
        assert_eq!((outbox.closed(), outbox.room_for_answer()), (200, 4 * ANSWER_FACTOR));
    }

    #[test]
    fn the_bound_holds_and_the_close_frame_still_fits() {
        let mut outbox = Outbox::new(4);
        outbox.push(FrameKind::Closed(3), Bytes::from_static(b"longer than four")).unwrap();
        outbox.push(FrameKind::Closed(4), Bytes::from_static(b"longer than four")).unwrap();
        assert_eq!(
            outbox.push(FrameKind::Required, Bytes::from_static(b"longer than four")),
            Err(Full),
            "room for two"
        );
        assert_eq!(outbox.push(FrameKind::Required, Bytes::from_static(b"x")), Err(Full));
        let mut out = vec![];
        assert!(!outbox.drain(socket(&mut out, 3)).unwrap());
        assert_eq!(outbox.closed(), 7);
        assert_eq!(outbox.end_with(Bytes::from_static(b"END")), 4, "the first is partly written");
        assert!(outbox.drain(socket(&mut out, 99)).unwrap());
        assert_eq!(out, b"longer than fourEND");
    }
}
