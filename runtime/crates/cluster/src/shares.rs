//! Deals partitions to nodes by rendezvous hashing: every node computes the same shares from the same members, and when
//! a member joins or leaves, only partitions that it takes or had move.

use std::cmp::Reverse;

use klines_domain::mutants::Mutant;

use crate::hash::hash;
use crate::member::Name;
use crate::partition::Partition;

/// The number of ingest nodes that watch a partition, unless it is configured.
pub const DEFAULT_REPLICAS: usize = 2;

/// Returns the ingest nodes of a partition, at most `replicas`, the first replica first.
pub fn holders<'a>(
    partition: Partition,
    members: impl IntoIterator<Item = &'a Name>,
    replicas: usize,
) -> Vec<&'a Name> {
    let number = partition.to_string();
    let mut ranked: Vec<_> = members.into_iter().map(|name| rank(&["ingest", &number], name)).collect();
    ranked.sort_unstable();
    ranked.dedup();
    if Mutant::SharesReshuffled.is_made() {
        let count = ranked.len().max(1);
        ranked.sort_unstable_by_key(|(_, name)| *name);
        ranked.rotate_left(usize::from(partition.number()) % count);
    }
    ranked.into_iter().take(replicas).map(|(_, name)| name).collect()
}

/// Returns the worker of a partition for a group; `None` if the group has no member.
pub fn worker<'a>(group: &Name, partition: Partition, members: impl IntoIterator<Item = &'a Name>) -> Option<&'a Name> {
    let number = partition.to_string();
    let ranked = members.into_iter().map(|name| rank(&["group", group.as_str(), &number], name));
    ranked.min().map(|(_, name)| name)
}

/// Returns what members are ordered by: the greatest hash first; equal ones by name.
fn rank<'a>(of: &[&str], name: &'a Name) -> (Reverse<u64>, &'a Name) {
    let parts: Vec<&str> = of.iter().copied().chain([name.as_str()]).collect();
    (Reverse(hash(&parts)), name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::partition::Partitions;

    fn names(numbers: impl IntoIterator<Item = u16>) -> BTreeSet<Name> {
        numbers.into_iter().map(|number| Name::new(&format!("node-{number}")).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn a_partition_has_as_many_different_holders_as_there_can_be(
            members in proptest::collection::btree_set(0u16..50, 0..20), replicas in 0usize..5
        ) {
            let members = names(members);
            for partition in Partitions::default().iter() {
                let found = holders(partition, &members, replicas);
                prop_assert_eq!(found.len(), replicas.min(members.len()));
                prop_assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len());
            }
        }

        #[test]
        fn when_a_member_leaves_only_its_partitions_move_and_the_order_of_the_others_stays(
            members in proptest::collection::btree_set(0u16..50, 1..20), replicas in 1usize..4, leaves in any::<prop::sample::Index>()
        ) {
            let members = names(members);
            let leaver = members.iter().nth(leaves.index(members.len())).unwrap().clone();
            let rest: BTreeSet<Name> = members.iter().filter(|name| **name != leaver).cloned().collect();
            let group = Name::new("alerts").unwrap();
            for partition in Partitions::default().iter() {
                let before = holders(partition, &members, replicas);
                let after = holders(partition, &rest, replicas);
                let kept: Vec<_> = before.iter().copied().filter(|name| **name != leaver).collect();
                prop_assert_eq!(&after[..kept.len()], &kept[..], "those who stay keep their order and come first");
                prop_assert!(after.len() <= kept.len() + 1);
                let worker_before = worker(&group, partition, &members);
                if worker_before != Some(&leaver) {
                    prop_assert_eq!(worker(&group, partition, &rest), worker_before);
                }
            }
        }

        #[test]
        fn the_order_in_which_members_are_listed_does_not_matter(
            members in proptest::collection::btree_set(0u16..50, 0..20)
        ) {
            let members = names(members);
            for partition in Partitions::default().iter() {
                prop_assert_eq!(holders(partition, &members, 2), holders(partition, members.iter().rev(), 2));
            }
        }
    }

    #[test]
    fn partitions_are_dealt_evenly_and_a_new_member_takes_its_part() {
        let partitions = Partitions::new(1_024).unwrap();
        let (ten, eleven) = (names(0..10), names(0..11));
        let count = |members: &BTreeSet<Name>, name: &Name| {
            partitions.iter().filter(|partition| holders(*partition, members, 2).contains(&name)).count()
        };
        for name in &ten {
            assert!((165..=245).contains(&count(&ten, name)), "{name} has {} of 204.8", count(&ten, name));
        }
        let moved =
            partitions.iter().filter(|partition| holders(*partition, &ten, 2) != holders(*partition, &eleven, 2));
        let moved = moved.count();
        assert!((150..=225).contains(&moved), "{moved} partitions moved, 186.2 are its part");
    }

    #[test]
    fn shares_are_the_same_in_every_version() {
        let (members, group) = (names(0..5), Name::new("alerts").unwrap());
        let firsts = |count| Partitions::default().iter().take(count).collect::<Vec<_>>();
        let held: Vec<String> = firsts(4)
            .iter()
            .map(|partition| {
                holders(*partition, &members, 2).iter().map(|name| name.as_str().trim_start_matches("node-")).collect()
            })
            .collect();
        assert_eq!(held, ["32", "12", "40", "20"]);
        let work: String = firsts(8)
            .iter()
            .map(|partition| {
                worker(&group, *partition, &members).unwrap().as_str().trim_start_matches("node-").to_owned()
            })
            .collect();
        assert_eq!(work, "02120000");
    }
}
