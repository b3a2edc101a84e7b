//! The same of whole clusters.

use crate::cluster::{Figures, Plan, run};

/// Seeds of a quick run, one of them a large cluster.
const SEEDS: u64 = 60;

#[test]
fn one_seed_twice_is_the_same_cluster() {
    for seed in 0..6 {
        let plan = Plan::of(seed);
        assert_eq!(plan, Plan::of(seed));
        let (one, two) = (run(&plan, true), run(&plan, true));
        assert!(one.trace.lines().count() > 5_000, "{plan}");
        assert!(one.trace == two.trace, "{plan}");
    }
}

#[test]
fn sixty_clusters_pass_in_which_owners_were_fenced_off() {
    let (mut compared, mut stale, mut overlaps) = (0, 0, 0);
    for seed in 0..SEEDS {
        let plan = Plan::of(seed);
        let outcome = run(&plan, false);
        assert!(outcome.faults.is_empty(), "{plan}\n{}", outcome.faults.join("\n"));
        (compared, stale, overlaps) = (compared + outcome.compared, stale + outcome.stale, overlaps + outcome.overlaps);
    }
    assert!(compared > 30_000, "{compared} klines were seen");
    assert!(stale > 100, "{stale} requests with an older token");
    assert!(overlaps > 0, "no Redis has forgotten an owner, so that nothing was fenced off");
}

#[test]
fn a_large_cluster_is_measured() {
    let Some(Figures { members, holders, workers, recovered, moved }) = run(&Plan::of(49), false).figures else {
        panic!("nothing was measured")
    };
    // 118 members, 128 holders and 64 workers renew their leases every second of clocks that are up to 8 % off.
    assert!((105..=130).contains(&members) && (112..=142).contains(&holders) && (56..=71).contains(&workers));
    // A dead node lasts as long as its lease, and another one needs at most 4.3 s to make its windows right.
    assert!((4_000..12_000).contains(&recovered) && (5..=25).contains(&moved), "{recovered} ms, {moved} moved");
}
