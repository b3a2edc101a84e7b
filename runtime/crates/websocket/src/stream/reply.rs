//! The answer to a subscription and the frames that follow it: the missed records or a snapshot of each topic. Decides
//! how many records fit, shares them with the server's memory, and encodes them as the client reads.

use std::collections::VecDeque;
use std::fmt::{Debug, Display};
use std::sync::Arc;

use bytes::Bytes;

use super::wire::{Position, TopicState};
use crate::frame;
use crate::outbox::LongAnswer;
use crate::push::stream::{self, Epoch, snapshot};
use crate::recent::{Recent, Record};

/// The size of a chunk, bytes; one record or snapshot may exceed it.
const CHUNK_BYTES: usize = 32 << 10;

/// The answer to a subscription, with the frames that follow it.
#[derive(Debug)]
pub struct Reply {
    /// Bytes that are left for further topics. What does not fit is not recovered, and snapshots have less history.
    room: usize,
    /// The maximum number of closed records in a snapshot.
    history: usize,
    /// The frame of the answer itself.
    answer: Option<Bytes>,
    /// The frames that follow it, by topic.
    parts: VecDeque<Box<dyn Part>>,
    held: usize,
    length: usize,
    text: String,
}

/// The frames of one topic.
trait Part: Send + Debug {
    /// Appends the next frame to `frames`. Returns whether there was one.
    fn write_next(&mut self, text: &mut String, frames: &mut Vec<u8>) -> bool;
}

#[derive(Debug)]
struct TopicPart<T> {
    name: String,
    epoch: Epoch,
    /// The topic's last sequence.
    seq: u64,
    /// Closed records, oldest first, then the open one.
    records: VecDeque<Arc<T>>,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Each record is a separate push.
    Missed,
    /// All records are one message, with the value of its `recovered`.
    Snapshot(Option<bool>),
    /// Everything is encoded.
    Done,
}

impl Reply {
    /// Creates an answer without topics.
    #[must_use]
    pub const fn new(room: usize, history: usize) -> Self {
        Self { room, history, answer: None, parts: VecDeque::new(), held: 0, length: 0, text: String::new() }
    }

    /// Adds the missed records of a topic, or a snapshot; returns the topic's state for the answer. A position of the epoch
    /// `crashed` counts like one of this epoch. A client that is ahead has missed nothing: its position is the state, and it
    /// must not get the records up to it.
    pub fn add<'a, T: Record + Debug + Send + Sync + 'static>(
        &mut self,
        topic: &'a str,
        name: &impl Display,
        (epoch, crashed): (Epoch, Option<Epoch>),
        recent: &Recent<T>,
        asked: Option<&Position>,
    ) -> TopicState<'a> {
        let is_of_this = |since: &&Position| {
            [Some(epoch), crashed].into_iter().flatten().any(|epoch| since.epoch == epoch.to_string())
        };
        let asked_of_this = asked.filter(is_of_this);
        if let Some(since) = asked_of_this.filter(|since| recent.is_ahead(since.seq)) {
            return TopicState { name: topic, epoch, seq: since.seq, recovered: Some(true) };
        }
        let missed = asked_of_this.and_then(|since| recent.since(since.seq));
        let bytes = |records: &[Arc<T>]| records.iter().map(|record| record.longest_push()).sum::<usize>();
        let missed = missed.filter(|missed| bytes(missed) <= self.room);
        let recovered = asked.map(|_| missed.is_some());
        let form = if missed.is_some() { Form::Missed } else { Form::Snapshot(recovered) };
        let mut records = VecDeque::from(missed.unwrap_or_else(|| self.newest(recent)));
        let closed = bytes(records.make_contiguous());
        self.room = self.room.saturating_sub(closed);
        records.extend(recent.open().cloned());
        let (name, seq) = (name.to_string(), recent.last());
        self.held += size_of::<TopicPart<T>>() + name.capacity() + records.capacity() * size_of::<Arc<T>>();
        self.length += bytes(records.make_contiguous());
        self.parts.push_back(Box::new(TopicPart { name, epoch, seq, records, form }));
        TopicState { name: topic, epoch, seq, recovered }
    }

    /// Sets the frame of the answer, once all topics are added.
    #[must_use]
    pub fn with_answer(mut self, answer: Bytes) -> Self {
        self.held += answer.len();
        self.length += answer.len();
        self.answer = Some(answer);
        self
    }

    /// Returns the newest closed records: at most `history`, and only those that fit.
    fn newest<T: Record>(&self, recent: &Recent<T>) -> Vec<Arc<T>> {
        let mut closed = recent.newest(self.history);
        let mut room = self.room;
        let fitting = closed.iter().rev().take_while(|record| {
            let left = room.checked_sub(record.longest_push());
            room = left.unwrap_or(room);
            left.is_some()
        });
        let surplus = closed.len() - fitting.count();
        closed.drain(..surplus);
        closed
    }
}

impl LongAnswer for Reply {
    fn next_frames(&mut self) -> Option<Bytes> {
        if let Some(answer) = self.answer.take() {
            return Some(answer);
        }
        let mut frames = Vec::new();
        while let Some(part) = self.parts.front_mut().filter(|_| frames.len() < CHUNK_BYTES) {
            if !part.write_next(&mut self.text, &mut frames) {
                self.parts.pop_front();
            }
        }
        (!frames.is_empty()).then(|| frames.into())
    }

    fn held(&self) -> usize {
        self.held
    }

    fn length(&self) -> usize {
        self.length
    }
}

impl<T: Record + Debug + Send + Sync> Part for TopicPart<T> {
    fn write_next(&mut self, text: &mut String, frames: &mut Vec<u8>) -> bool {
        match self.form {
            Form::Missed => {
                let Some(record) = self.records.pop_front() else { return false };
                stream::record(&*record, &self.name, self.epoch, text);
            }
            Form::Snapshot(recovered) => {
                snapshot(&self.name, (self.epoch, self.seq), self.records.iter(), recovered, text);
                self.form = Form::Done;
            }
            Form::Done => return false,
        }
        frame::append(text, frames);
        true
    }
}
