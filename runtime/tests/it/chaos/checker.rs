//! Checks recordings of clients against the promises of `docs/websocket.md` for `/v1/stream`. Does not know the trades.

// Lets clippy treat this file as test code too.
#![cfg(test)]

mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Entry, Positions};
use super::plan::Fault;

/// A client that misses fewer klines than this of each topic has to be recovered: nine topics of them fit into an
/// answer.
const NEAR: u64 = 60;

/// The findings from the recordings.
#[derive(Debug, Default)]
pub struct Findings {
    /// Broken promises.
    pub problems: Vec<String>,
    /// Epochs by the life of the server in which they were announced.
    pub lives: BTreeMap<u32, BTreeSet<String>>,
    /// Every confirmed kline, as its JSON, by epoch and topic.
    pub klines: BTreeMap<(String, String), BTreeMap<u64, String>>,
    /// Faults that were carried out.
    pub faults: BTreeMap<Fault, usize>,
    /// Topics that were resumed without a hole, by the preceding fault.
    pub resumed: BTreeMap<Fault, usize>,
    /// Number of topics answered with `recovered`: false, true.
    pub recovered: [usize; 2],
    /// Topics that were resumed without a hole after the server was killed.
    pub continued: usize,
    /// Connections by the code that the server closed them with.
    pub closed: BTreeMap<u16, usize>,
    pub snapshots: usize,
    pub confirmed: usize,
    pub updates: usize,
    /// Clients whose last message was the shutdown.
    pub dismissed: usize,
}

#[derive(Deserialize)]
struct Message<'a> {
    op: Option<&'a str>,
    id: Option<u64>,
    ok: Option<bool>,
    #[serde(default)]
    topics: BTreeMap<String, Answer>,
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    topic: Option<String>,
    epoch: Option<String>,
    seq: Option<u64>,
    recovered: Option<bool>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Answer {
    epoch: String,
    seq: u64,
    recovered: Option<bool>,
}

#[derive(Deserialize)]
struct Inside<'a> {
    symbol: &'a str,
    interval: &'a str,
    start: i64,
    confirm: bool,
    sequence: u64,
}

/// What a client knows about a topic.
#[derive(Default)]
struct Topic {
    /// Epoch and number of the last confirmed push, or of the snapshot.
    last: Option<(String, u64)>,
    /// The answer that a snapshot has to follow, and the history that was asked for.
    announced: Option<(Answer, usize)>,
    is_followed: bool,
}

/// Checks all recordings.
pub fn check(recordings: &[Vec<Entry>]) -> Findings {
    let mut findings = Findings::default();
    for (client, recording) in recordings.iter().enumerate() {
        let mut reader = Reader {
            findings: &mut findings,
            at: (client, 0),
            life: 0,
            fault: None,
            asked: HashMap::new(),
            topics: BTreeMap::new(),
        };
        for (line, entry) in recording.iter().enumerate() {
            reader.at.1 = line;
            reader.read(entry);
        }
        let last =
            recording.iter().rev().find_map(|entry| if let Entry::Heard(text) = entry { Some(text) } else { None });
        findings.dismissed += usize::from(last.is_some_and(|text| text == r#"{"v":1,"type":"shutdown"}"#));
    }
    let mut lives = BTreeMap::<String, u32>::new();
    for (life, epoch) in findings.lives.iter().flat_map(|(life, epochs)| epochs.iter().map(|epoch| (*life, epoch))) {
        let first = *lives.entry(epoch.clone()).or_insert(life);
        if first != life {
            findings.problems.push(format!("epoch {epoch} outlived the server: lives {first} and {life}"));
        }
    }
    findings
}

struct Reader<'a> {
    findings: &'a mut Findings,
    /// Client and line.
    at: (usize, usize),
    life: u32,
    /// The last fault.
    fault: Option<Fault>,
    asked: HashMap<u64, (&'a [String], &'a Positions, usize)>,
    topics: BTreeMap<String, Topic>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, entry: &'a Entry) {
        match entry {
            Entry::Opened { life } => {
                self.life = *life;
                for topic in self.topics.values_mut() {
                    *topic = Topic { last: topic.last.take(), ..Topic::default() };
                }
            }
            Entry::Asked { id, topics, since, history } => {
                self.asked.insert(*id, (topics, since, *history));
            }
            Entry::Did(fault) => {
                *self.findings.faults.entry(*fault).or_default() += 1;
                self.fault = Some(*fault);
            }
            Entry::Closed(code) => *self.findings.closed.entry(code.unwrap_or_default()).or_default() += 1,
            Entry::Heard(text) => self.hear(text),
        }
    }

    fn problem(&mut self, what: &str) {
        let (client, line) = self.at;
        self.findings.problems.push(format!("client {client}, line {line}: {what}"));
    }

    fn hear(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<Message<'_>>(text) else {
            return self.problem(&format!("unreadable: {text}"));
        };
        match (message.op, message.ok, message.kind, message.topic, message.epoch, message.seq, message.data) {
            (Some("subscribe"), Some(true), ..) => self.answer(message.id, message.topics),
            (_, _, Some("kline"), Some(topic), Some(epoch), Some(seq), Some(data)) => {
                self.kline(&topic, &epoch, seq, data)
            }
            (_, _, Some("snapshot"), Some(topic), Some(epoch), Some(seq), Some(data)) => {
                self.snapshot(&topic, (epoch, seq), message.recovered, data);
            }
            (_, _, Some("shutdown" | "status"), ..) => {}
            _ => self.problem(&format!("unexpected: {text}")),
        }
    }

    fn answer(&mut self, id: Option<u64>, answers: BTreeMap<String, Answer>) {
        let Some((topics, since, history)) = id.and_then(|id| self.asked.remove(&id)) else {
            return self.problem(&format!("an answer without a request: {id:?}"));
        };
        if !answers.keys().eq(topics.iter().collect::<BTreeSet<_>>()) {
            self.problem("an answer to other topics than were asked for");
        }
        for (name, answer) in answers {
            self.findings.lives.entry(self.life).or_default().insert(answer.epoch.clone());
            let had = since.get(&name);
            // A server that was killed is continued by the next one, which has another epoch.
            let own = &self.findings.lives[&self.life];
            let is_continued = had.is_some_and(|had| had.0 != answer.epoch && !own.contains(&had.0));
            let topic = self.topics.entry(name.clone()).or_default();
            topic.is_followed = true;
            let received = topic.last.clone();
            match (had, answer.recovered) {
                (Some(had), Some(true)) => {
                    let continued = (answer.epoch.clone(), had.1);
                    // The client may have asked before, and not have got a kline since.
                    let is_asked_again = is_continued && received.as_ref() == Some(&continued);
                    if is_continued {
                        topic.last = Some(continued);
                        self.findings.continued += 1;
                    }
                    let is_known = had.0 == answer.epoch || is_continued;
                    let is_received = Some(had) == received.as_ref() || is_asked_again;
                    if !is_received || !is_known || had.1 > answer.seq {
                        self.problem(&format!("{name}: recovered {} {} from {had:?}", answer.epoch, answer.seq));
                    }
                    self.findings.recovered[1] += 1;
                    if let Some(fault) = self.fault {
                        *self.findings.resumed.entry(fault).or_default() += 1;
                    }
                }
                (Some(had), Some(false)) => {
                    topic.announced = Some((answer, history));
                    self.findings.recovered[0] += 1;
                    let (epoch, seq) =
                        topic.announced.as_ref().map(|(answer, _)| (answer.epoch.clone(), answer.seq)).unwrap();
                    if had.0 == epoch && seq >= had.1 && seq - had.1 < NEAR {
                        self.problem(&format!("{name}: not recovered from {had:?}, though at {seq}"));
                    }
                }
                (None, None) => topic.announced = Some((answer, history)),
                (had, recovered) => self.problem(&format!("{name}: recovered {recovered:?} for {had:?}")),
            }
        }
    }

    fn snapshot(&mut self, name: &str, last: (String, u64), recovered: Option<bool>, data: &RawValue) {
        self.findings.snapshots += 1;
        let topic = self.topics.entry(name.to_owned()).or_default();
        let before = topic.last.replace(last.clone());
        let (is_followed, announced) = (topic.is_followed, topic.announced.take());
        let (epoch, seq) = last;
        let is_announced = match &announced {
            Some((answer, _)) => answer.recovered == recovered && (&answer.epoch, answer.seq) == (&epoch, seq),
            // The server lost klines, which requires a new epoch.
            None => is_followed && recovered == Some(false) && before.as_ref().is_some_and(|(old, _)| *old != epoch),
        };
        if !is_announced {
            self.problem(&format!("{name}: a snapshot at {seq} that nothing announced"));
        }
        if before.is_some_and(|(old, before)| old == epoch && before > seq) {
            self.problem(&format!("{name}: a snapshot that goes back to {seq}"));
        }
        let Ok(klines) = serde_json::from_str::<Vec<&RawValue>>(data.get()) else { return self.problem("no list") };
        let (mut start, mut closed) = (i64::MIN, 0);
        for (at, kline) in klines.iter().enumerate() {
            let Some(inside) = self.inside(name, kline) else { continue };
            if inside.start <= start {
                self.problem(&format!("{name}: a snapshot out of order"));
            }
            start = inside.start;
            if inside.confirm {
                closed += 1;
                self.keep(&epoch, name, inside.sequence, kline);
            }
            let is_numbered = if inside.confirm {
                inside.sequence <= seq
            } else {
                inside.sequence == seq + 1 && at + 1 == klines.len()
            };
            if !is_numbered {
                self.problem(&format!("{name}: {} in a snapshot at {seq}", inside.sequence));
            }
        }
        if announced.is_some_and(|(_, history)| closed > history) {
            self.problem(&format!("{name}: {closed} klines are more than were asked for"));
        }
    }

    fn kline(&mut self, name: &str, epoch: &str, seq: u64, data: &RawValue) {
        let Some(inside) = self.inside(name, data) else { return };
        let topic = self.topics.entry(name.to_owned()).or_default();
        let (is_followed, is_due) = (topic.is_followed, topic.announced.is_none());
        let last = if inside.confirm { topic.last.replace((epoch.to_owned(), seq)) } else { topic.last.clone() };
        if !is_followed || !is_due {
            self.problem(&format!("{name}: {seq} before its subscription and snapshot"));
        }
        match last {
            Some((old, last)) if old == epoch => {
                let what = match (inside.confirm, seq > last) {
                    _ if seq == last + 1 => None,
                    (true, true) => Some("a hole"),
                    (true, false) => Some("sent twice, or out of order"),
                    (false, _) => Some("an update with a wrong number"),
                };
                if let Some(what) = what {
                    self.problem(&format!("{name}: {what}: {seq} after {last}"));
                }
            }
            other => self.problem(&format!("{name}: {epoch} {seq} after {other:?}")),
        }
        if inside.sequence != seq {
            self.problem(&format!("{name}: {seq} holds {}", inside.sequence));
        }
        if inside.confirm {
            self.findings.confirmed += 1;
            self.keep(epoch, name, seq, data);
        } else {
            self.findings.updates += 1;
        }
    }

    fn inside<'d>(&mut self, name: &str, data: &'d RawValue) -> Option<Inside<'d>> {
        let inside = serde_json::from_str::<Inside<'_>>(data.get()).ok();
        let inside = inside.filter(|inside| format!("kline.{}.{}", inside.interval, inside.symbol) == name);
        if inside.is_none() {
            self.problem(&format!("{name}: not its kline: {}", data.get()));
        }
        inside
    }

    /// Records a kline. Every client has to get the same bytes under the same number.
    fn keep(&mut self, epoch: &str, name: &str, seq: u64, data: &RawValue) {
        let klines = self.findings.klines.entry((epoch.to_owned(), name.to_owned())).or_default();
        let first = klines.entry(seq).or_insert_with(|| data.get().to_owned());
        if first != data.get() {
            let what = format!("{name}: {seq} differs: {} is not {first}", data.get());
            self.problem(&what);
        }
    }
}
