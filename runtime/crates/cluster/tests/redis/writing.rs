//! Random sequences of appends, repetitions and failovers: the functions answer and publish what the model does.

use std::collections::BTreeMap;

use klines_cluster::lease::Token;
use klines_cluster::library::{Append, Resend, Written};
use klines_cluster::model::ledger::{Ledger, Outcome, Status, Write};
use klines_cluster::version::{Bucket, Class, Digest, Given, Identity, Published, Version, of_rank, rank};
use redis::Value;

use super::random::Random;
use super::server::{REPLICATION, Server, caller, name, partition};

const NODES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// Returns a version whose content follows from its number. Some have numbers of trades beyond 2^53 that a double could
/// not tell apart.
pub fn version(number: u8) -> Version {
    let trades = [5, 6, 9_007_199_254_740_992, 9_007_199_254_740_993, u64::MAX][usize::from(number / 4 % 5)];
    let quality = of_rank(number % 4).unwrap();
    // Bytes that end a text in C, or a line.
    let digest = Digest([number, 0, 10, 13, 34, 92, 255, 128, 0, 0, 0, 0, 0, 0, 0, number]);
    Version { digest, quality, trades, body: format!("{number} 64258.2 0.02") }
}

/// Returns the identity of a window that ended before `now`.
pub fn identity(series: &str, ago: u64, now: u64) -> Identity {
    let (class, length) = if series.ends_with('s') { (Class::Short, 1_000) } else { (Class::Long, 60_000) };
    let start = now / length * length - (ago + 1) * length;
    Identity { series: series.to_owned(), start, bucket: Bucket::of(class, start + length - 1) }
}

/// Calls the model for a node, while all nodes hold the partition.
fn write<T>(node: &str, replication: &str, now: u64, act: impl FnOnce(Write<'_>) -> T) -> T {
    let living = NODES.iter().map(|node| name(node)).collect();
    act(Write { node: &name(node), replication, living: &living, now })
}

/// The keys and what `DUMP` says of them.
type Dump = Vec<(String, Vec<u8>)>;

/// A server and the model of the same partition.
struct Pair {
    server: Server,
    model: Ledger,
    tokens: BTreeMap<&'static str, Token>,
    replication: String,
    identities: Vec<Identity>,
    /// What each node was given.
    given: BTreeMap<&'static str, Vec<Given>>,
    /// An earlier state of both.
    snapshot: Option<(Ledger, Dump)>,
}

impl Pair {
    fn new() -> Self {
        let mut server = Server::start();
        let tokens = NODES.map(|node| (node, server.hold(node))).into();
        let state: Vec<String> = server.run(&["HMGET", &partition().meta, "epoch"]);
        let mut model = Ledger::default();
        (model.epoch, model.replication) = (state[0].parse().unwrap(), REPLICATION.to_owned());
        let now = server.now();
        let series = ["linear BTCUSDT 1m", "spot BTCUSDT 1m", "inverse BTC-26DEC26 1s"];
        let identities = series.iter().flat_map(|series| [0, 1, 5].map(|ago| identity(series, ago, now)));
        let mut identities: Vec<Identity> = identities.collect();
        // Windows that are not kept any longer.
        identities.push(identity("linear BTCUSDT 1m", 26 * 60, now));
        identities.push(identity("inverse BTC-26DEC26 1s", 700, now));
        let replication = REPLICATION.to_owned();
        Self { server, model, tokens, replication, identities, given: BTreeMap::new(), snapshot: None }
    }

    fn append(&mut self, random: &mut Random) {
        let node = *random.pick(&NODES);
        let klines: Vec<(Identity, Version)> = (0..1 + random.below(4))
            .map(|_| (random.pick(&self.identities).clone(), version(random.below(20) as u8)))
            .collect();
        let (keys, caller, replication) = (partition(), caller(node), &self.replication);
        let call = Append { keys: &keys, caller: &caller, token: self.tokens[node], replication, klines: &klines };
        let written = self.server.call(&call).unwrap();
        let expected = write(node, &self.replication, written.now, |write| self.model.append(write, &klines)).unwrap();
        self.compare(&written, &expected);
        for ((identity, version), outcome) in klines.into_iter().zip(expected) {
            if outcome.status != Status::Old {
                let (revision, sequence) = (outcome.revision, outcome.sequence);
                let own = matches!(outcome.status, Status::Published | Status::Same);
                let kline = Published { identity, version, revision, sequence };
                self.given.entry(node).or_default().push(Given { kline, own });
            }
        }
    }

    /// A node sends again what it was given, mostly; sometimes numbers that nobody was given.
    fn resend(&mut self, node: &str, random: &mut Random) {
        let mut klines: Vec<Given> = self.given.get(node).cloned().unwrap_or_default();
        klines.drain(..klines.len().saturating_sub(20));
        if random.below(3) == 0 {
            let identity = random.pick(&self.identities).clone();
            let sequence = 1 + random.below(self.model.sequence(&identity.series) + 5);
            let revision = random.below(6);
            let kline = Published { identity, version: version(random.below(20) as u8), revision, sequence };
            klines.push(Given { kline, own: random.below(2) == 0 });
        }
        let (keys, caller, replication) = (partition(), caller(node), &self.replication);
        let (token, epoch) = (self.tokens[node], self.model.epoch);
        let call = Resend { keys: &keys, caller: &caller, token, replication, epoch, klines: &klines };
        let written = self.server.call(&call).unwrap();
        let expected = write(node, &self.replication, written.now, |write| self.model.resend(write, epoch, &klines));
        self.compare(&written, &expected);
    }

    /// Keeps the state, or goes back to the kept one as a replica that takes over does.
    fn fail_over(&mut self) {
        let keys: Vec<String> = self.server.run(&["KEYS", "*"]);
        match self.snapshot.take() {
            None => {
                let dump = |key: String| {
                    let dumped = self.server.run(&["DUMP", &key]);
                    (key, dumped)
                };
                self.snapshot = Some((self.model.clone(), keys.into_iter().map(dump).collect()));
            }
            Some((model, dumped)) => {
                keys.iter().for_each(|key| drop(self.server.run::<Value>(&["DEL", key])));
                for (key, bytes) in dumped {
                    let mut restore = redis::cmd("RESTORE");
                    self.server.query(restore.arg(key).arg(0).arg(bytes)).unwrap();
                }
                self.model = model;
                self.replication = format!("{}x", self.replication);
            }
        }
        // Nothing is appended before all holders have sent their last minute.
        NODES.iter().for_each(|node| self.resend(node, &mut Random::new(1)));
    }

    #[track_caller]
    fn compare(&self, written: &Written, expected: &[Outcome]) {
        assert_eq!(written.outcomes, expected);
        assert_eq!(written.epoch, self.model.epoch);
    }

    /// Compares everything that was published, the sequences and the counts.
    fn compare_all(&mut self) {
        let keys = partition();
        let entries: Vec<(String, Vec<String>)> = self.server.run(&["XRANGE", &keys.stream, "-", "+"]);
        let found: Vec<[String; 3]> = entries
            .iter()
            .flat_map(|(_, fields)| {
                assert_eq!(fields[0], "epoch");
                fields[2..].chunks(2).map(|pair| [fields[1].clone(), pair[0].clone(), pair[1].clone()])
            })
            .collect();
        let expected: Vec<[String; 3]> = self
            .model
            .stream
            .iter()
            .map(|(epoch, kline)| {
                let (identity, Published { version, revision, sequence, .. }) = (&kline.identity, kline);
                let value =
                    format!("{revision} {sequence} {} {} {}", rank(version.quality), version.trades, version.body);
                [epoch.to_string(), format!("{} {}", identity.series, identity.start), value]
            })
            .collect();
        assert_eq!(found, expected);
        let series: BTreeMap<String, u64> = self.server.run(&["HGETALL", &keys.series]);
        for (series, sequence) in series {
            assert_eq!(sequence, self.model.sequence(&series), "{series}");
        }
        let conflicts: Option<u64> = self.server.run(&["HGET", &keys.meta, "conflicts"]);
        assert_eq!(conflicts.unwrap_or_default(), self.model.conflicts);
    }
}

#[test]
fn the_functions_do_what_the_model_does() {
    let mut published = 0;
    for seed in 0..40 {
        let (mut pair, mut random) = (Pair::new(), Random::new(seed));
        for _ in 0..150 {
            match random.below(20) {
                0 => pair.fail_over(),
                1..=3 => {
                    let node = *random.pick(&NODES);
                    pair.resend(node, &mut random);
                }
                _ => pair.append(&mut random),
            }
        }
        pair.compare_all();
        published += pair.model.stream.len();
    }
    assert!(published > 1_000, "{published}");
}

#[test]
fn klines_expire_with_their_bucket() {
    let mut pair = Pair::new();
    let mut random = Random::new(1);
    (0..40).for_each(|_| pair.append(&mut random));
    let (keys, now) = (partition(), pair.server.now());
    for identity in pair.identities.clone() {
        let key = keys.bucket(identity.bucket);
        let expires: i64 = pair.server.run(&["PEXPIRETIME", &key]);
        let expected =
            if identity.bucket.expires() > now { i64::try_from(identity.bucket.expires()).unwrap() } else { -2 };
        assert_eq!(expires, expected, "{key}");
    }
}

#[test]
fn one_call_is_one_entry_and_one_without_news_is_none() {
    let mut pair = Pair::new();
    let klines: Vec<(Identity, Version)> = pair.identities[..4].iter().map(|one| (one.clone(), version(0))).collect();
    let (keys, replication) = (partition(), REPLICATION);
    for (node, entries) in [("a", 1), ("b", 1), ("a", 1)] {
        let caller = caller(node);
        let call = Append { keys: &keys, caller: &caller, token: pair.tokens[node], replication, klines: &klines };
        let written = pair.server.call(&call).unwrap();
        let length: u64 = pair.server.run(&["XLEN", &keys.stream]);
        assert_eq!((length, written.entry.is_some()), (entries, written.outcomes[0].status == Status::Published));
    }
}
