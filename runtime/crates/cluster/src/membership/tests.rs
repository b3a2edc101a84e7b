//! One node at a time: what it asks for, and when it may write.

use std::time::Duration;

use super::*;
use crate::member::{About, Member};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn view(names: &[&str]) -> View {
    let about = About { ingest: true, ..About::default() };
    let members = names.iter().map(|text| Member { name: name(text), about: about.clone() });
    View { generation: 1, members: members.collect() }
}

fn holder(text: &str, phase: Phase) -> Holder {
    Holder { name: name(text), phase }
}

/// A node `a` of a cluster with four partitions and one replica.
struct Fixture {
    node: Node,
    actions: Vec<Action>,
}

impl Fixture {
    fn new() -> Self {
        let settings = Settings {
            name: name("a"),
            ingest: true,
            partitions: Partitions::new(4).unwrap(),
            replicas: 1,
            timing: Timing::default(),
        };
        Self { node: Node::new(settings), actions: Vec::new() }
    }

    fn on(&mut self, input: Input, now: u64) -> Vec<Action> {
        self.node.on(input, at(now), &mut self.actions);
        std::mem::take(&mut self.actions)
    }

    /// Joins alone at 0 and holds every partition, seeded.
    fn counting() -> Self {
        let mut fixture = Self::new();
        fixture.on(Input::Tick, 0);
        fixture.on(Input::Granted { sent: at(0), token: Token(1), view: Some(view(&["a"])) }, 0);
        fixture.on(Input::Tick, 0);
        for partition in fixture.partitions() {
            fixture.on(Input::Seeded(partition), 0);
            fixture.held(partition, 0, 7, vec![holder("a", Phase::Counting)]);
        }
        fixture
    }

    fn held(&mut self, partition: Partition, sent: u64, token: u64, holders: Vec<Holder>) -> Vec<Action> {
        self.on(Input::Held { partition, sent: at(sent), token: Token(token), holders }, sent)
    }

    fn partitions(&self) -> Vec<Partition> {
        self.node.settings.partitions.iter().collect()
    }
}

#[test]
fn a_node_joins_beats_and_watches_its_share() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.on(Input::Tick, 0), [Action::Join]);
    assert_eq!(fixture.on(Input::Tick, 100), []);
    let watched = fixture.on(Input::Granted { sent: at(0), token: Token(1), view: Some(view(&["a"])) }, 200);
    assert_eq!(watched, fixture.partitions().into_iter().map(Action::Watch).collect::<Vec<_>>());
    let holds = fixture.on(Input::Tick, 300);
    assert_eq!(holds.len(), 4);
    assert!(holds.iter().all(|hold| matches!(hold, Action::Hold { token: None, phase: Phase::Seeding, .. })));
    let asked = fixture.on(Input::Tick, 1_000);
    assert_eq!(asked, [Action::Beat(Token(1))]);
}

#[test]
fn a_node_that_seeds_writes_only_while_nobody_counts() {
    let mut fixture = Fixture::new();
    fixture.on(Input::Granted { sent: at(0), token: Token(1), view: Some(view(&["a"])) }, 0);
    let partition = fixture.partitions()[0];
    assert_eq!(fixture.node.may_write(partition, at(0)), None, "there is no lease");
    fixture.held(partition, 0, 7, vec![holder("a", Phase::Seeding), holder("b", Phase::Seeding)]);
    assert_eq!(fixture.node.may_write(partition, at(1)), Some(Token(7)));
    fixture.held(partition, 2, 7, vec![holder("a", Phase::Seeding), holder("b", Phase::Counting)]);
    assert_eq!(fixture.node.may_write(partition, at(3)), None);
    fixture.on(Input::Seeded(partition), 4);
    assert_eq!(fixture.node.may_write(partition, at(4)), Some(Token(7)));
}

#[test]
fn a_node_stops_writing_by_its_own_clock_and_asks_for_a_new_lease() {
    let mut fixture = Fixture::counting();
    let partition = fixture.partitions()[0];
    assert_eq!(fixture.node.may_write(partition, at(4_499)), Some(Token(7)));
    assert_eq!(fixture.node.may_write(partition, at(4_500)), None);
    let asked = fixture.on(Input::Tick, 4_500);
    assert!(asked.contains(&Action::Join));
    assert!(
        asked.contains(&Action::Hold { partition, token: None, phase: Phase::Counting }),
        "it has watched all along"
    );
}

#[test]
fn a_stale_token_is_replaced_at_once_and_old_refusals_are_ignored() {
    let mut fixture = Fixture::counting();
    let partition = fixture.partitions()[0];
    let refused = |token| Input::HoldRefused { partition, token: Some(Token(token)), refusal: Refusal::Stale };
    fixture.on(refused(6), 100);
    assert_eq!(fixture.node.may_write(partition, at(100)), Some(Token(7)));
    fixture.on(refused(7), 100);
    assert_eq!(fixture.node.may_write(partition, at(100)), None);
    let asked = fixture.on(Input::Tick, 100);
    assert!(asked.contains(&Action::Hold { partition, token: None, phase: Phase::Counting }));
    fixture.on(Input::MemberRefused { token: Some(Token(1)), refusal: Refusal::Stale }, 200);
    assert_eq!(fixture.on(Input::Tick, 200), [Action::Join]);
}

#[test]
fn a_partition_is_released_only_when_the_new_holder_counts() {
    let mut fixture = Fixture::counting();
    let shared = view(&["a", "b"]);
    fixture.on(Input::Granted { sent: at(100), token: Token(1), view: Some(shared.clone()) }, 100);
    let of_b = |partition: &Partition| shares::holders(*partition, shared.ingest(), 1) == [&name("b")];
    let lost = fixture.partitions().into_iter().find(of_b).expect("b has a share");
    let both = |phase| vec![holder("a", Phase::Counting), holder("b", phase)];
    assert_eq!(fixture.held(lost, 200, 7, both(Phase::Seeding)), []);
    assert_eq!(fixture.node.may_write(lost, at(200)), Some(Token(7)));
    let released = fixture.held(lost, 300, 7, both(Phase::Counting));
    assert_eq!(released, [Action::Drop { partition: lost, token: Token(7) }, Action::Unwatch(lost)]);
    assert_eq!(fixture.node.may_write(lost, at(300)), None);
}

#[test]
fn a_node_that_is_no_member_gives_nothing_up() {
    let mut fixture = Fixture::counting();
    let (shared, count) = (view(&["a", "b"]), fixture.partitions().len());
    fixture.on(Input::Granted { sent: at(100), token: Token(1), view: Some(shared) }, 100);
    for partition in fixture.partitions() {
        let both = vec![holder("a", Phase::Counting), holder("b", Phase::Counting)];
        fixture.held(partition, 4_700, 7, both);
    }
    assert_eq!(fixture.node.holdings().count(), count);
}

#[test]
fn a_node_that_drains_leaves_and_writes_until_the_others_count() {
    let mut fixture = Fixture::counting();
    let shared = view(&["a", "b"]);
    fixture.on(Input::Granted { sent: at(100), token: Token(1), view: Some(shared) }, 100);
    assert_eq!(fixture.on(Input::Drain, 200), [Action::Leave(Token(1))]);
    assert!(fixture.on(Input::Tick, 200).contains(&Action::View));
    fixture.on(Input::Viewed(view(&["b"])), 210);
    for partition in fixture.partitions() {
        assert_eq!(fixture.held(partition, 300, 7, vec![holder("a", Phase::Counting)]), []);
        assert!(!fixture.node.is_done());
        let both = vec![holder("a", Phase::Counting), holder("b", Phase::Counting)];
        assert_eq!(fixture.held(partition, 400, 7, both).len(), 2);
    }
    assert!(fixture.node.is_done());
}

#[test]
fn the_last_node_that_drains_waits_for_nobody() {
    let mut fixture = Fixture::counting();
    fixture.on(Input::Drain, 200);
    for partition in fixture.partitions() {
        assert_eq!(fixture.held(partition, 300, 7, vec![holder("a", Phase::Counting)]).len(), 2);
    }
    assert!(fixture.node.is_done());
}

#[test]
fn a_node_that_stops_gives_everything_back_and_does_nothing_more() {
    let mut fixture = Fixture::counting();
    let actions = fixture.on(Input::Stop, 200);
    assert_eq!(actions.len(), 9, "four partitions are dropped and no longer watched, and the node leaves");
    assert_eq!(actions.last(), Some(&Action::Leave(Token(1))));
    assert_eq!(fixture.on(Input::Tick, 9_000), []);
    assert!(fixture.node.is_done());
}

#[test]
fn updates_are_published_by_one_of_those_that_count() {
    let mut fixture = Fixture::counting();
    let partition = fixture.partitions()[0];
    assert!(fixture.node.is_first(partition, at(100)));
    fixture.held(partition, 100, 7, vec![holder("a", Phase::Counting), holder("b", Phase::Seeding)]);
    assert!(fixture.node.is_first(partition, at(100)), "b does not count");
    let names = ["a", "b"].map(name);
    let first = shares::holders(partition, &names, 1)[0] == &names[0];
    fixture.held(partition, 200, 7, vec![holder("a", Phase::Counting), holder("b", Phase::Counting)]);
    assert_eq!(fixture.node.is_first(partition, at(200)), first);
    assert!(!fixture.node.is_first(partition, at(9_000)), "its lease is over");
}

#[test]
fn what_is_due_is_asked_for_at_once_when_there_is_a_connection_again() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.on(Input::Tick, 0), [Action::Join]);
    assert_eq!(fixture.on(Input::Tick, 500), [], "the next beat is a second later");
    assert_eq!(fixture.on(Input::Connected, 500), [Action::Join]);
    let mut fixture = Fixture::counting();
    fixture.on(Input::Tick, 1_000);
    let asked = fixture.on(Input::Connected, 1_500);
    let held = asked.iter().filter(|action| matches!(action, Action::Hold { .. })).count();
    assert_eq!((held, asked.len()), (4, 5), "{asked:?}");
}

#[test]
fn klines_are_left_to_others_only_while_these_count_and_the_lease_lasts() {
    let mut fixture = Fixture::new();
    let partition = Partitions::new(4).unwrap().get(0).unwrap();
    assert!(fixture.node.leaves_to_others(partition, at(0)), "it does not hold it");
    fixture.on(Input::Granted { sent: at(0), token: Token(1), view: Some(view(&["a"])) }, 0);
    assert!(!fixture.node.leaves_to_others(partition, at(0)), "it has no lease, and does not know of others");
    fixture.held(partition, 0, 7, vec![holder("a", Phase::Seeding), holder("b", Phase::Counting)]);
    assert!(fixture.node.leaves_to_others(partition, at(0)));
    assert!(!fixture.node.leaves_to_others(partition, at(6_000)), "its lease is over");
    fixture.held(partition, 6_000, 8, vec![holder("a", Phase::Seeding), holder("b", Phase::Seeding)]);
    assert!(!fixture.node.leaves_to_others(partition, at(6_000)), "nobody counts");
}
