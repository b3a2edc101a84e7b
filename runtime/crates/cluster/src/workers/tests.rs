//! One worker at a time: when it acquires, finishes and abandons partitions.

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
    let about = About { groups: [name("alerts")].into(), ..About::default() };
    let members = names.iter().map(|text| Member { name: name(text), about: about.clone() });
    View { generation: 1, members: members.collect() }
}

struct Fixture {
    workers: Workers,
    partitions: Vec<Partition>,
}

impl Fixture {
    fn new(single: bool) -> Self {
        let (partitions, timing) = (Partitions::new(4).unwrap(), Timing::default());
        let settings = Settings { name: name("a"), group: name("alerts"), single, partitions, timing };
        Self { workers: Workers::new(settings), partitions: partitions.iter().collect() }
    }

    fn on(&mut self, input: Input, now: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.workers.on(input, at(now), &mut actions);
        actions
    }

    fn granted(&mut self, partition: Partition, sent: u64, token: u64) -> Vec<Action> {
        let position = StreamId { millis: 5, number: 0 };
        self.on(Input::Granted { partition, sent: at(sent), token: Token(token), position }, sent)
    }

    /// A worker that has all partitions from 0 on.
    fn holding(single: bool) -> Self {
        let mut fixture = Self::new(single);
        fixture.on(Input::Viewed(view(&["a"])), 0);
        fixture.on(Input::Tick, 0);
        for partition in fixture.partitions.clone() {
            fixture.granted(partition, 0, 1);
        }
        fixture
    }
}

#[test]
fn a_worker_acquires_its_share_and_begins_at_what_is_acknowledged() {
    let mut fixture = Fixture::new(false);
    assert_eq!(fixture.on(Input::Tick, 0), []);
    fixture.on(Input::Viewed(view(&["a"])), 0);
    let asked = fixture.on(Input::Tick, 0);
    assert_eq!(asked, fixture.partitions.iter().map(|one| Action::Acquire(*one)).collect::<Vec<_>>());
    let first = fixture.partitions[0];
    let position = StreamId { millis: 5, number: 0 };
    assert_eq!(fixture.granted(first, 0, 3), [Action::Begin(first, Token(3), position)]);
    assert_eq!(fixture.granted(first, 1, 3), [], "a renewal begins nothing");
    assert!(fixture.on(Input::Tick, 1_000).contains(&Action::Renew(first, Token(3))));
}

#[test]
fn a_partition_of_another_worker_is_finished_before_it_is_released() {
    let mut fixture = Fixture::holding(false);
    let shared = view(&["a", "b"]);
    let finishes = fixture.on(Input::Viewed(shared.clone()), 100);
    let group = name("alerts");
    let of_b = |partition: &Partition| shares::worker(&group, *partition, shared.workers(&group)) == Some(&name("b"));
    let lost: Vec<Partition> = fixture.partitions.iter().copied().filter(of_b).collect();
    assert!(!lost.is_empty() && lost.len() < 4);
    assert_eq!(finishes, lost.iter().map(|one| Action::Finish(*one)).collect::<Vec<_>>());
    assert!(fixture.on(Input::Tick, 1_000).contains(&Action::Renew(lost[0], Token(1))), "its delivery runs on");
    assert_eq!(fixture.on(Input::Finished(lost[0]), 1_100), [Action::Release(lost[0], Token(1))]);
    assert_eq!(fixture.workers.may_acknowledge(lost[0], at(1_100)), None);
}

#[test]
fn a_worker_whose_lease_is_over_abandons_and_asks_again() {
    let mut fixture = Fixture::holding(false);
    let first = fixture.partitions[0];
    assert_eq!(fixture.workers.may_acknowledge(first, at(4_499)), Some(Token(1)));
    assert_eq!(fixture.workers.may_acknowledge(first, at(4_500)), None);
    let actions = fixture.on(Input::Tick, 4_500);
    assert!(actions.contains(&Action::Abandon(first)) && actions.contains(&Action::Acquire(first)));
    fixture.granted(first, 4_600, 2);
    let stale = |token| Input::Refused { partition: first, token: Some(Token(token)), refusal: Refusal::Stale };
    assert_eq!(fixture.on(stale(1), 4_700), [], "that was the old lease");
    assert_eq!(fixture.on(stale(2), 4_700), [Action::Abandon(first)]);
    assert!(fixture.on(Input::Tick, 4_700).contains(&Action::Acquire(first)));
}

#[test]
fn a_lease_that_is_not_wanted_any_longer_is_given_back() {
    let mut fixture = Fixture::new(false);
    fixture.on(Input::Viewed(view(&["a"])), 0);
    fixture.on(Input::Tick, 0);
    fixture.on(Input::Stop, 10);
    let first = fixture.partitions[0];
    assert_eq!(fixture.granted(first, 0, 9), [Action::Release(first, Token(9))]);
    assert_eq!(fixture.workers.held().count(), 0);
}

#[test]
fn a_group_for_one_worker_has_one_lease() {
    let (mut one, mut other) = (Fixture::holding(true), Fixture::new(true));
    other.workers.settings.name = name("b");
    let shared = view(&["a", "b"]);
    let finishes = one.on(Input::Viewed(shared.clone()), 100).len();
    other.on(Input::Viewed(shared), 100);
    let acquires = other.on(Input::Tick, 100).len();
    assert!([0, 1].contains(&finishes), "{finishes}");
    assert_eq!(one.workers.held().collect::<Vec<_>>(), one.partitions[..1]);
    assert_eq!(acquires, finishes, "what one gives up the other takes");
}

#[test]
fn an_answer_to_a_request_from_before_a_release_begins_nothing() {
    let mut fixture = Fixture::holding(false);
    let first = fixture.partitions[0];
    fixture.on(Input::Viewed(view(&[])), 100);
    fixture.on(Input::Finished(first), 200);
    fixture.on(Input::Viewed(view(&["a"])), 300);
    assert_eq!(fixture.granted(first, 150, 1), [Action::Release(first, Token(1))]);
    assert_eq!(fixture.workers.may_acknowledge(first, at(300)), None);
    assert!(matches!(fixture.granted(first, 350, 2)[..], [Action::Begin(..)]));
}

#[test]
fn a_worker_whose_lease_was_replaced_by_a_grant_that_it_gives_back_stops() {
    let mut fixture = Fixture::holding(false);
    let first = fixture.partitions[0];
    fixture.on(Input::Refused { partition: first, token: Some(Token(1)), refusal: Refusal::Stale }, 100);
    fixture.granted(first, 200, 3);
    // A request from before the refusal has arrived after the one that was granted.
    assert_eq!(fixture.granted(first, 50, 4), [Action::Abandon(first), Action::Release(first, Token(4))]);
    assert_eq!(fixture.workers.may_acknowledge(first, at(300)), None);
}
