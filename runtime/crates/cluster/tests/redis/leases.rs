//! Random sequences of requests for leases, with leases that end meanwhile: the functions answer what the models do.

use std::time::Duration;

use klines_cluster::lease::Token;
use klines_cluster::library::{Acquire, Beat, Drop, Hold, Join, Leave, LibraryError, Release, Renew, ViewMembers};
use klines_cluster::member::{About, Instance, Name};
use klines_cluster::membership::Phase;
use klines_cluster::model::Caller;
use klines_cluster::model::groups::Groups;
use klines_cluster::model::holders::Holders;
use klines_cluster::model::members::Members;
use klines_cluster::refusal::Refusal;
use klines_cluster::stream_id::StreamId;

use super::random::Random;
use super::server::{Server, caller, cluster, name, partition, wait_until};

/// Leases last so long; the waits in between are shorter and longer.
const LEASE: u64 = 40;

/// What both sides may say. If a lease ends between two looks at the clock, the model is asked at both times.
#[track_caller]
fn compare<M: Clone, T: PartialEq + std::fmt::Debug>(
    model: &mut M,
    server: &mut Server,
    ask: impl FnOnce(&mut Server) -> Result<(u64, T), LibraryError>,
    expect: impl Fn(&mut M, u64) -> Result<T, Refusal>,
) {
    let before = server.now();
    let found = ask(server);
    match found {
        Ok((now, found)) => assert_eq!(Ok(found), expect(model, now)),
        Err(error) => {
            let refusal = error.refusal().unwrap_or_else(|| panic!("{error}"));
            let mut later = model.clone();
            let after = server.now();
            if expect(model, before) != Err(refusal) {
                assert_eq!(expect(&mut later, after), Err(refusal));
                *model = later;
            }
        }
    }
}

fn somebody(random: &mut Random) -> Caller {
    Caller { name: name(["a", "b", "c"][random.below(3) as usize]), instance: Instance(1 + random.below(2)) }
}

fn pause(server: &mut Server, random: &mut Random) {
    if random.below(6) == 0 {
        let until = server.now() + random.below(2 * LEASE);
        wait_until(server, until);
    }
}

#[test]
fn members_are_those_of_the_model() {
    let (mut server, mut model, mut random, keys) = (Server::start(), Members::default(), Random::new(1), cluster());
    let about = About { ingest: true, groups: [name("alerts")].into(), ..About::default() };
    let lease = Duration::from_millis(LEASE);
    for _ in 0..600 {
        pause(&mut server, &mut random);
        let (caller, token) = (somebody(&mut random), Token(1 + random.below(40)));
        match random.below(4) {
            0 => compare(
                &mut model,
                &mut server,
                |server| {
                    let joined = server.call(&Join { keys: &keys, caller: &caller, lease, about: &about })?;
                    Ok((joined.now, (joined.token, joined.view)))
                },
                |model, now| model.join(&caller, &about, LEASE, now).map(|token| (token, Some(model.view(now)))),
            ),
            1 | 2 => compare(
                &mut model,
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
            _ => {
                assert_eq!(server.call(&Leave { keys: &keys, caller: &caller, token }), Ok(model.leave(&caller, token)))
            }
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
    let (mut server, mut model, mut random, keys) = (Server::start(), Holders::default(), Random::new(2), partition());
    let lease = Duration::from_millis(LEASE);
    for _ in 0..600 {
        pause(&mut server, &mut random);
        let caller = somebody(&mut random);
        let token = Some(Token(1 + random.below(60))).filter(|_| random.below(3) > 0);
        let phase = *random.pick(&[Phase::Seeding, Phase::Counting]);
        if let (Some(token), 0) = (token, random.below(5)) {
            assert_eq!(server.call(&Drop { keys: &keys, caller: &caller, token }), Ok(model.drop(&caller, token)));
            continue;
        }
        compare(
            &mut model,
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
    let (mut server, mut model, mut random, keys) = (Server::start(), Groups::default(), Random::new(3), partition());
    let lease = Duration::from_millis(LEASE);
    for _ in 0..900 {
        pause(&mut server, &mut random);
        let (caller, token) = (somebody(&mut random), Token(1 + random.below(60)));
        let group: Name = name(["alerts", "rsi"][random.below(2) as usize]);
        let replication = ["r1", "r2"][usize::from(random.below(10) == 0)];
        let position = StreamId { millis: random.below(4), number: u64::MAX - random.below(3) };
        let (group, caller, keys, from) = (&group, &caller, &keys, (replication, position));
        match random.below(5) {
            0 => compare(
                &mut model,
                &mut server,
                |server| server.call(&Acquire { keys, group, caller, lease, replication, begin: position }),
                |model, now| model.acquire(group, caller, from, LEASE, now),
            ),
            1..=3 => compare(
                &mut model,
                &mut server,
                |server| server.call(&Renew { keys, group, caller, token, lease, replication, position }),
                |model, now| model.renew(group, caller, token, from, LEASE, now),
            ),
            _ => compare(
                &mut model,
                &mut server,
                |server| server.call(&Release { keys, group, caller, token, replication, position }),
                |model, now| model.release(group, caller, token, from, now),
            ),
        }
    }
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
