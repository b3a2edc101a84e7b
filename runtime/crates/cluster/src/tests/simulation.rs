//! Whole clusters by seed: nodes with clocks of their own, a network that delays and loses, and a Redis that is the model.
//!
//! Safety and liveness are apart. While faults happen, no lease may have two owners; when they have ended, every
//! partition must have its holders and its worker. `KLINES_CLUSTER_SEEDS` runs more seeds than the usual ones.

mod faults;
pub(super) mod network;
mod redis;
mod world;

use std::collections::BTreeSet;

use super::simulation::faults::Plan;
use super::simulation::world::World;
use crate::membership::Phase;

/// How long faults happen, and how long the cluster then has to recover, in milliseconds.
const FAULTS: u64 = 60_000;
const RECOVERY: u64 = 30_000;

pub(super) fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("KLINES_CLUSTER_SEEDS").ok().and_then(|text| text.parse().ok());
    0..count.unwrap_or(60)
}

#[test]
fn one_seed_twice_is_the_same_run() {
    for seed in 0..3 {
        let [one, other] = [0, 1].map(|_| {
            let mut world = World::new(seed, Plan::everything(seed));
            world.run_until(FAULTS);
            world.trace
        });
        assert!(one.len() > 10_000, "seed {seed} did little");
        assert_eq!(one, other, "seed {seed}");
    }
}

#[test]
fn a_lease_has_one_owner_and_the_cluster_recovers_from_delay_loss_pauses_cuts_and_kills() {
    for seed in seeds() {
        let mut world = World::new(seed, Plan::of_nodes(seed));
        world.run_until(FAULTS + RECOVERY);
        // No owner may believe in a lease that another has. This holds as long as Redis keeps what it has answered.
        assert_eq!(world.overlaps, 0, "seed {seed}: two workers believed to have one partition");
        world.assert_fenced(seed);
        world.assert_recovered(seed);
    }
}

#[test]
fn a_redis_that_forgets_or_whose_clock_jumps_still_refuses_the_older_owner() {
    let mut overlaps = 0;
    for seed in seeds() {
        let mut world = World::new(seed, Plan::everything(seed));
        world.run_until(FAULTS + RECOVERY);
        overlaps += world.overlaps;
        world.assert_fenced(seed);
        world.assert_recovered(seed);
    }
    assert!(overlaps > 0, "no split brain happened, so that nothing was fenced off");
}

#[test]
fn stale_tokens_are_tried_and_refused() {
    let refused: u64 = seeds()
        .map(|seed| {
            let mut world = World::new(seed, Plan::of_nodes(seed));
            world.run_until(FAULTS);
            world.redis.refused_writes
        })
        .sum();
    assert!(refused > 0, "no node wrote with a stale token");
}

#[test]
fn a_node_that_ends_moves_only_its_own_partitions() {
    for seed in seeds().take(10) {
        let mut world = World::new(seed, Plan::none());
        world.run_until(20_000);
        let (before, watched) = (world.shares(), world.watches);
        world.kill(0);
        world.run_until(50_000);
        let lost = before.iter().filter(|share| share.contains(&world.name(0))).count();
        assert_eq!(world.watches - watched, lost as u64, "seed {seed}");
        world.assert_recovered(seed);
    }
}

#[test]
fn a_partition_never_has_fewer_counting_holders_while_nodes_are_replaced_in_order() {
    for seed in seeds().take(10) {
        let mut world = World::new(seed, Plan::none());
        world.run_until(20_000);
        let least = |world: &World| world.counting().iter().map(BTreeSet::len).min().unwrap();
        assert_eq!(least(&world), 2);
        for node in 0..2 {
            world.drain(node);
            for at in 1..=120 {
                world.run_until(20_000 + node as u64 * 40_000 + at * 250);
                assert!(least(&world) >= 2, "seed {seed}: {:?}", world.counting());
            }
            assert!(world.processes[node].node.is_done(), "seed {seed}: node {node} is not done");
            world.kill(node);
            world.start(node);
            world.run_until(60_000 + node as u64 * 40_000);
        }
        let phases = world.processes.iter().flat_map(|process| process.node.holdings());
        assert!(phases.map(|(_, phase)| phase).all(|phase| phase == Phase::Counting));
        world.assert_recovered(seed);
    }
}
