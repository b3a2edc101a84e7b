//! What the model says of single cases; the functions in Redis are compared with it elsewhere.

use klines_domain::kline::Quality;
use proptest::prelude::*;

use super::ledger::{Ledger, Outcome, Status, Write};
use crate::member::Name;
use crate::refusal::Refusal;
use crate::version::{Bucket, Class, Digest, Given, Identity, Published, Version};

const NOW: u64 = 1_786_310_880_000;

fn node(name: &str) -> Name {
    Name::new(name).unwrap()
}

fn identity() -> Identity {
    Identity { series: "linear BTCUSDT 1m".to_owned(), start: NOW - 60_000, bucket: Bucket::of(Class::Long, NOW - 1) }
}

fn version(digest: u8, quality: Quality, trades: u64) -> Version {
    Version { digest: Digest([digest; 16]), quality, trades, body: format!("body {digest}") }
}

fn outcome(status: Status, revision: u64, sequence: u64) -> Outcome {
    Outcome { status, revision, sequence }
}

/// Calls `act` for a node, while `living` hold the partition.
fn write<T>(name: &str, replication: &str, living: &[&str], now: u64, act: impl FnOnce(Write<'_>) -> T) -> T {
    let living = living.iter().map(|name| node(name)).collect();
    act(Write { node: &node(name), replication, living: &living, now })
}

/// A partition after the first `resend` of a Redis called `r1`.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    write("a", "r1", &[], NOW, |write| ledger.resend(write, 0, &[]));
    ledger
}

fn append(ledger: &mut Ledger, name: &str, sent: &Version) -> Outcome {
    write(name, "r1", &[], NOW, |write| ledger.append(write, &[(identity(), sent.clone())])).unwrap()[0]
}

#[test]
fn the_same_version_of_two_nodes_is_published_once() {
    let (mut ledger, sent) = (ledger(), version(1, Quality::Complete, 5));
    assert_eq!(append(&mut ledger, "a", &sent), outcome(Status::Published, 0, 1));
    assert_eq!(append(&mut ledger, "b", &sent), outcome(Status::Same, 0, 1));
    assert_eq!(append(&mut ledger, "a", &sent), outcome(Status::Same, 0, 1));
    assert_eq!((ledger.stream.len(), ledger.conflicts), (1, 0));
}

#[test]
fn better_quality_wins_then_more_trades_then_the_first() {
    let mut ledger = ledger();
    assert_eq!(append(&mut ledger, "a", &version(1, Quality::Gapped, 9)), outcome(Status::Published, 0, 1));
    assert_eq!(append(&mut ledger, "b", &version(2, Quality::Complete, 7)), outcome(Status::Published, 1, 2));
    assert_eq!(append(&mut ledger, "c", &version(3, Quality::Complete, 6)), outcome(Status::Kept, 1, 2));
    assert_eq!(append(&mut ledger, "d", &version(4, Quality::Complete, 8)), outcome(Status::Published, 2, 3));
    assert_eq!(append(&mut ledger, "e", &version(5, Quality::Complete, 8)), outcome(Status::Conflict, 2, 3));
    assert_eq!(append(&mut ledger, "e", &version(5, Quality::Complete, 8)), outcome(Status::Conflict, 2, 3));
    assert_eq!(ledger.conflicts, 1, "a repetition is not counted");
}

#[test]
fn a_node_supersedes_its_own_version_downwards_too_unless_another_has_confirmed_it() {
    let (mut ledger, complete) = (ledger(), version(1, Quality::Complete, 5));
    append(&mut ledger, "a", &complete);
    assert_eq!(append(&mut ledger, "a", &version(2, Quality::Gapped, 4)), outcome(Status::Published, 1, 2));
    append(&mut ledger, "a", &complete);
    append(&mut ledger, "b", &complete);
    assert_eq!(append(&mut ledger, "a", &version(2, Quality::Gapped, 4)), outcome(Status::Kept, 2, 3));
    assert_eq!(ledger.record(&identity()).unwrap().published(), &complete);
}

#[test]
fn a_kept_version_is_published_when_the_better_one_is_taken_back() {
    let mut ledger = ledger();
    append(&mut ledger, "a", &version(1, Quality::Complete, 5));
    append(&mut ledger, "b", &version(2, Quality::Gapped, 4));
    assert_eq!(append(&mut ledger, "a", &version(3, Quality::Gapped, 3)), outcome(Status::Kept, 1, 2));
    assert_eq!(ledger.stream[1].1.version, version(2, Quality::Gapped, 4));
}

#[test]
fn versions_that_come_after_their_time_are_not_published() {
    let mut ledger = ledger();
    let late = identity().bucket.expires();
    let sent = [(identity(), version(1, Quality::Complete, 5))];
    let answered = write("a", "r1", &[], late, |write| ledger.append(write, &sent)).unwrap();
    assert_eq!((answered, ledger.stream.len()), (vec![outcome(Status::Old, 0, 0)], 0));
}

/// What a node that was given numbers sends after a failover.
fn given(digest: u8, revision: u64, sequence: u64) -> Given {
    let version = version(digest, Quality::Complete, u64::from(digest));
    Given { kline: Published { identity: identity(), version, revision, sequence }, own: true }
}

#[test]
fn what_a_failover_has_lost_is_restored_with_its_numbers_in_a_new_epoch() {
    let mut ledger = ledger();
    append(&mut ledger, "a", &version(1, Quality::Complete, 1));
    let (promoted, epoch) = (ledger.clone(), ledger.epoch);
    append(&mut ledger, "a", &version(2, Quality::Complete, 2));
    append(&mut ledger, "a", &version(3, Quality::Complete, 3));
    let mut ledger = promoted;
    let refused = write("b", "r2", &["a", "b"], NOW, |write| ledger.append(write, &[]));
    assert_eq!(refused, Err(Refusal::Resend));
    let sent = [given(1, 0, 1), given(2, 1, 2), given(3, 2, 3)];
    let answered = write("a", "r2", &["a", "b"], NOW, |write| ledger.resend(write, epoch, &sent));
    let expected = [(Status::Same, 0, 1), (Status::Published, 1, 2), (Status::Published, 2, 3)];
    assert_eq!(answered, expected.map(|(status, revision, sequence)| outcome(status, revision, sequence)));
    assert!(ledger.epoch > epoch);
    assert_eq!(ledger.stream.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [epoch, ledger.epoch, ledger.epoch]);
    let after = ledger.epoch;
    let refused = write("a", "r2", &["a", "b"], NOW, |write| ledger.append(write, &[]));
    assert_eq!(refused, Err(Refusal::Wait), "what b was given is not known yet");
    write("b", "r2", &["a", "b"], NOW, |write| ledger.resend(write, after, &sent));
    assert_eq!(write("a", "r2", &["a", "b"], NOW, |write| ledger.append(write, &[])), Ok(Vec::new()));
    assert_eq!((ledger.epoch, ledger.stream.len(), ledger.conflicts), (after, 3, 0), "another node changes nothing");
}

#[test]
fn numbers_that_were_given_twice_get_a_later_revision_and_an_epoch() {
    let mut ledger = ledger();
    append(&mut ledger, "b", &version(9, Quality::Complete, 1));
    let epoch = ledger.epoch;
    let answered = write("a", "r1", &[], NOW, |write| ledger.resend(write, 0, &[given(2, 0, 1)]));
    assert_eq!(answered, [outcome(Status::Published, 1_000, 2)]);
    assert_eq!((ledger.conflicts, ledger.epoch > epoch), (1, true));
}

#[test]
fn a_lost_version_of_a_node_that_has_ended_too_gives_way_to_the_next_best_under_later_numbers() {
    let mut ledger = ledger();
    // `b` was answered that a better version, of `a`, has revision 0 and sequence 1.
    let kept = Given { own: false, ..given(2, 0, 1) };
    let answered = write("b", "r2", &[], NOW, |write| ledger.resend(write, 0, &[kept]));
    assert_eq!(answered, [outcome(Status::Published, 1_000, 2)]);
    let answered = write("a", "r2", &[], NOW, |write| ledger.resend(write, 0, &[given(3, 0, 1)]));
    assert_eq!(
        answered,
        [outcome(Status::Published, 2_000, 3)],
        "had it not ended, its version would be published again"
    );
}

#[test]
fn what_a_losing_master_had_published_does_not_replace_a_better_version_of_another_node() {
    let (mut ledger, better) = (ledger(), version(1, Quality::Complete, 5));
    append(&mut ledger, "a", &better);
    let (epoch, conflicts) = (ledger.epoch, ledger.conflicts);
    // The other master did not have it, and gave `b` a later revision for its own.
    let kline = Published { version: version(2, Quality::Gapped, 4), ..given(2, 1_000, 7).kline };
    let sent = [Given { kline, own: true }];
    let answered = write("b", "r1", &["a", "b"], NOW, |write| ledger.resend(write, epoch, &sent));
    assert_eq!(answered, [outcome(Status::Kept, 2_000, 8)]);
    assert_eq!(ledger.record(&identity()).unwrap().published(), &better);
    assert_eq!((ledger.conflicts, ledger.epoch > epoch), (conflicts, true));
}

proptest! {
    /// Whatever nodes send, a series has every sequence once, and each kline every revision once.
    #[test]
    fn a_series_has_no_hole_and_no_revision_twice(
        sent in proptest::collection::vec((0u8..4, 0u8..6, 0usize..4, 0u64..3), 0..60)
    ) {
        let mut ledger = ledger();
        for (name, digest, quality, trades) in sent {
            let quality = [Quality::Complete, Quality::Repaired, Quality::Partial, Quality::Gapped][quality];
            append(&mut ledger, &format!("n{name}"), &version(digest, quality, trades));
        }
        for (at, (_, kline)) in ledger.stream.iter().enumerate() {
            prop_assert_eq!((kline.sequence, kline.revision), (at as u64 + 1, at as u64));
        }
    }
}
