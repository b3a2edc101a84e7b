//! Random sequences of requests for leases, with leases that end meanwhile: the functions answer what the models do.

use std::collections::BTreeMap;
use std::time::Duration;

use klines_cluster::lease::Token;
use klines_cluster::library::{
    Acquire, Beat, Commit, Drop, Hold, Join, Leave, LibraryError, Note, Release, Renew, ViewMembers,
};
use klines_cluster::member::{About, Instance, Name};
use klines_cluster::membership::Phase;
use klines_cluster::model::Caller;
use klines_cluster::model::groups::{Changes, Groups};
use klines_cluster::model::holders::Holders;
use klines_cluster::model::members::Members;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;

use super::random::Random;
use super::server::{Server, caller, cluster, name, partition, wait_until};

/// Leases last so long; the waits in between are shorter and longer.
const LEASE: u64 = 40;

/// What the model may be: a refusal does not say when Redis looked at its clock, so that leases may have ended before it or not.
struct Possible<M>(Vec<M>);

impl<M: Clone + PartialEq> Possible<M> {
    fn new(model: M) -> Self {
        Self(vec![model])
    }

    /// Asks the functions, and keeps the models that say the same.
    #[track_caller]
    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        server: &mut Server,
        ask: impl FnOnce(&mut Server) -> Result<(u64, T), LibraryError>,
        expect: impl Fn(&mut M, u64) -> Result<T, Refusal>,
    ) {
        let before = server.now();
        let (times, found) = match ask(server) {
            Ok((now, found)) => (now..=now, Ok(found)),
            Err(error) => (before..=server.now(), Err(error.refusal().unwrap_or_else(|| panic!("{error}")))),
        };
        let mut next: Vec<M> = Vec::new();
        let mut last = None;
        for (model, time) in self.0.iter().flat_map(|model| times.clone().map(move |time| (model, time))) {
            let mut model = model.clone();
            let said = expect(&mut model, time);
            if said == found && !next.contains(&model) {
                next.push(model);
            }
            last = Some(said);
        }
        assert!(!next.is_empty(), "Redis says {found:?}, the model says {last:?}");
        self.0 = next;
    }

    /// Returns the model as it may be last.
    fn any(&self) -> &M {
        &self.0[0]
    }
}

fn somebody(random: &mut Random) -> Caller {
    Caller { name: name(["a", "b", "c"][random.below(3) as usize]), instance: Instance(1 + random.below(2)) }
}

/// Returns who had the last lease of a group, and its token.
fn owner(record: &str) -> (Caller, Token) {
    let words: Vec<&str> = record.split(' ').collect();
    let instance = Instance(u64::from_str_radix(words[0], 16).unwrap());
    (Caller { name: name(words[3]), instance }, Token(words[1].parse::<u64>().unwrap().max(1)))
}

fn pause(server: &mut Server, random: &mut Random) {
    if random.below(6) == 0 {
        let until = server.now() + random.below(2 * LEASE);
        wait_until(server, until);
    }
}

#[test]
fn members_are_those_of_the_model() {
    let (mut server, mut model, mut random, keys) =
        (Server::start(), Possible::new(Members::default()), Random::new(1), cluster());
    let about = About { ingest: true, groups: [name("alerts")].into(), ..About::default() };
    let lease = Duration::from_millis(LEASE);
    for _ in 0..600 {
        pause(&mut server, &mut random);
        let (caller, token) = (somebody(&mut random), Token(1 + random.below(40)));
        match random.below(4) {
            0 => model.compare(
                &mut server,
                |server| {
                    let joined = server.call(&Join { keys: &keys, caller: &caller, lease, about: &about })?;
                    Ok((joined.now, (joined.token, joined.view)))
                },
                |model, now| model.join(&caller, &about, LEASE, now).map(|token| (token, Some(model.view(now)))),
            ),
            1 | 2 => model.compare(
                &mut server,
                |server| {
                    let beat = Beat { keys: &keys, caller: &caller, token, lease, generation: 3 };
                    let beaten = server.call(&beat)?;
                    Ok((beaten.now, (beaten.generation, beaten.view)))
                },
                |model, now| {
                    model.beat(&caller, token, LEASE, now)?;
                    let view = model.view(now);
                    Ok((view.generation, Some(view).filter(|view| view.generation != 3)))
                },
            ),
            _ => model.compare(
                &mut server,
                |server| Ok((0, server.call(&Leave { keys: &keys, caller: &caller, token })?)),
                |model, _| Ok(model.leave(&caller, token)),
            ),
        }
    }
    wait_until_over(&mut server);
    assert_eq!(server.call(&ViewMembers { keys: &keys }).unwrap().members, []);
}

fn wait_until_over(server: &mut Server) {
    let until = server.now() + LEASE + 1;
    wait_until(server, until);
}

#[test]
fn holders_are_those_of_the_model() {
    let (mut server, mut model, mut random, keys) =
        (Server::start(), Possible::new(Holders::default()), Random::new(2), partition());
    let lease = Duration::from_millis(LEASE);
    for _ in 0..600 {
        pause(&mut server, &mut random);
        let caller = somebody(&mut random);
        let token = Some(Token(1 + random.below(60))).filter(|_| random.below(3) > 0);
        let phase = *random.pick(&[Phase::Seeding, Phase::Counting]);
        if let (Some(token), 0) = (token, random.below(5)) {
            let drop = Drop { keys: &keys, caller: &caller, token };
            model.compare(
                &mut server,
                |server| Ok((0, server.call(&drop)?)),
                |model, _| Ok(model.drop(&caller, token)),
            );
            continue;
        }
        model.compare(
            &mut server,
            |server| {
                let held = server.call(&Hold { keys: &keys, caller: &caller, token, lease, phase })?;
                Ok((held.now, (held.token, held.holders)))
            },
            |model, now| model.hold(&caller, token, phase, LEASE, now).map(|token| (token, model.living(now))),
        );
    }
}

#[test]
fn worker_leases_are_those_of_the_model() {
    let (mut server, mut model, mut random, keys) =
        (Server::start(), Possible::new(Groups::default()), Random::new(3), partition());
    let lease = Duration::from_millis(LEASE);
    for step in 0..900 {
        pause(&mut server, &mut random);
        let group: Name = name(["alerts", "rsi"][random.below(2) as usize]);
        let record: Option<String> = server.run(&["HGET", &keys.groups, group.as_str()]);
        let owner = record.map(|record| owner(&record)).filter(|_| random.below(2) == 0);
        let (caller, token) = owner.unwrap_or_else(|| (somebody(&mut random), Token(1 + random.below(60))));
        let replication = ["r1", "r2"][usize::from(random.below(10) == 0)];
        // They grow slowly, so that some would go back and others not.
        let position = StreamId { millis: step / 20 + random.below(4), number: u64::MAX - random.below(3) };
        let (group, caller, keys, from) = (&group, &caller, &keys, (replication, position));
        let field = |random: &mut Random| vec![b'=', u8::try_from(random.below(3)).unwrap()];
        let changes = &Changes {
            deleted: (0..random.below(2)).map(|_| field(&mut random)).collect(),
            set: (0..random.below(3)).map(|at| (field(&mut random), vec![0, u8::try_from(at).unwrap()])).collect(),
        };
        match random.below(8) {
            6 => model.compare(
                &mut server,
                |server| server.call(&Commit { keys, group, caller, token, lease, replication, position, changes }),
                |model, now| model.commit((group, caller, token), from, changes.clone(), LEASE, now),
            ),
            7 if random.below(9) == 0 => model.compare(
                &mut server,
                |server| server.call(&Note { keys, group, caller, replication, position }),
                |model, _| model.note(group, caller, from),
            ),
            0 => model.compare(
                &mut server,
                |server| server.call(&Acquire { keys, group, caller, lease, replication, begin: position }),
                |model, now| model.acquire(group, caller, from, LEASE, now),
            ),
            1..=3 => model.compare(
                &mut server,
                |server| server.call(&Renew { keys, group, caller, token, lease, replication, position }),
                |model, now| model.renew(group, caller, token, from, LEASE, now),
            ),
            _ => model.compare(
                &mut server,
                |server| server.call(&Release { keys, group, caller, token, replication, position }),
                |model, now| model.release(group, caller, token, from, now),
            ),
        }
        let state: Vec<(Vec<u8>, Vec<u8>)> = server.run(&["HGETALL", &keys.state(group)]);
        assert_eq!(state.into_iter().collect::<BTreeMap<_, _>>(), model.any().state(group));
    }
    assert!(!model.any().state(&name("rsi")).is_empty(), "no state was written");
}

#[test]
fn a_lease_that_a_clock_put_back_would_prolong_is_cut() {
    let mut server = Server::start();
    let (keys, of, node) = (cluster(), partition(), caller("a"));
    let far = server.now() + 3_600_000;
    let (far, dead) = (far.to_string(), "0000000000000009");
    server.run::<u64>(&["HSET", &keys.members, "dead", &format!("{dead} 1 ingest")]);
    server.run::<u64>(&["ZADD", &keys.leases, &far, "dead"]);
    server.run::<u64>(&["HSET", &of.holders, "dead", &format!("{dead} 1 {far} counting")]);
    server.run::<u64>(&["HSET", &of.groups, "alerts", &format!("{dead} 1 {far} dead r1 0-0 0")]);
    let (lease, about) = (Duration::from_secs(5), About::default());
    server.call(&Join { keys: &keys, caller: &node, lease, about: &about }).unwrap();
    server.call(&Hold { keys: &of, caller: &node, token: None, lease, phase: Phase::Seeding }).unwrap();
    let group = name("alerts");
    let acquire =
        Acquire { keys: &of, group: &group, caller: &node, lease, replication: "r1", begin: StreamId::default() };
    assert_eq!(server.call(&acquire).unwrap_err().refusal(), Some(Refusal::Held));
    let latest = server.now() + 30_000;
    let member: u64 = server.run(&["ZSCORE", &keys.leases, "dead"]);
    let holder: String = server.run(&["HGET", &of.holders, "dead"]);
    let worker: String = server.run(&["HGET", &of.groups, "alerts"]);
    let expires = |record: &str| record.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
    for expires in [member, expires(&holder), expires(&worker)] {
        assert!(expires <= latest, "{expires} is later than {latest}");
    }
}
