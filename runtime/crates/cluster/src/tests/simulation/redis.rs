//! Redis in the simulation: the models of its functions, a clock of its own, and what it accepted from whom.

use std::collections::BTreeMap;

use crate::lease::{LEASE, Token};
use crate::member::{About, Name, View};
use crate::membership::{Action, Holder};
use crate::model::Caller;
use crate::model::groups::{Groups, Progress};
use crate::model::holders::Holders;
use crate::model::members::Members;
use crate::partition::Partition;
use crate::refusal::Refusal;
use crate::stream_id::StreamId;
use crate::workers;

/// What a node asks for.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Node(Action),
    Worker(workers::Action, StreamId),
    Write(Partition, Token),
}

/// What Redis answers.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Granted(Token, View),
    MemberRefused(Option<Token>, Refusal),
    Viewed(View),
    Held(Partition, Token, Vec<Holder>),
    HoldRefused(Partition, Option<Token>, Refusal),
    Worker(Partition, Progress),
    WorkerRefused(Partition, Option<Token>, Refusal),
}

/// What a failover can lose.
#[derive(Clone, Default)]
pub(super) struct State {
    pub(super) members: Members,
    pub(super) holders: BTreeMap<Partition, Holders>,
    pub(super) groups: BTreeMap<Partition, Groups>,
}

#[derive(Default)]
pub(super) struct Redis {
    pub(super) state: State,
    /// The state at earlier times, oldest first.
    pub(super) snapshots: Vec<(u64, State)>,
    /// How far its clock is from real time.
    pub(super) ahead: i64,
    /// The owner of the newest grant of each worker lease, in the order of the grants.
    grants: BTreeMap<Partition, Caller>,
    /// Acknowledgements that were accepted from another than the owner of the newest grant.
    pub(super) unfenced: u64,
    pub(super) refused_writes: u64,
}

const BEGIN: u64 = 1_000_000_000;

pub(super) fn group() -> Name {
    Name::new("alerts").unwrap()
}

pub(super) fn about() -> About {
    About { ingest: true, serve: true, groups: [group()].into(), partitions: None }
}

impl Redis {
    pub(super) fn now(&self, real: u64) -> u64 {
        (BEGIN + real).checked_add_signed(self.ahead).unwrap()
    }

    pub(super) fn snapshot(&mut self, real: u64) {
        self.snapshots.push((real, self.state.clone()));
        self.snapshots.retain(|(at, _)| *at + 1_500 > real);
    }

    /// A replica takes over that had not received what was done since.
    pub(super) fn fail_over(&mut self, real: u64, lost: u64) {
        let newest = self.snapshots.iter().rev().find(|(at, _)| *at + lost <= real);
        if let Some((_, state)) = newest {
            self.state = state.clone();
        }
        self.grants.clear();
    }

    pub(super) fn handle(&mut self, caller: &Caller, request: &Request, real: u64) -> Option<Answer> {
        let now = self.now(real);
        match request {
            Request::Node(action) => self.node(caller, action, now),
            Request::Worker(action, position) => self.worker(caller, action, *position, now),
            Request::Write(partition, token) => {
                let refusal = self.state.holders.entry(*partition).or_default().check(caller, *token, now).err()?;
                self.refused_writes += 1;
                Some(Answer::HoldRefused(*partition, Some(*token), refusal))
            }
        }
    }

    fn node(&mut self, caller: &Caller, action: &Action, now: u64) -> Option<Answer> {
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        let State { members, holders, .. } = &mut self.state;
        match *action {
            Action::Join => Some(match members.join(caller, &about(), lease, now) {
                Ok(token) => Answer::Granted(token, members.view(now)),
                Err(refusal) => Answer::MemberRefused(None, refusal),
            }),
            Action::Beat(token) => Some(match members.beat(caller, token, lease, now) {
                Ok(()) => Answer::Granted(token, members.view(now)),
                Err(refusal) => Answer::MemberRefused(Some(token), refusal),
            }),
            Action::Leave(token) => {
                members.leave(caller, token);
                None
            }
            Action::View => Some(Answer::Viewed(members.view(now))),
            Action::Hold { partition, token, phase } => {
                let holders = holders.entry(partition).or_default();
                Some(match holders.hold(caller, token, phase, lease, now) {
                    Ok(token) => Answer::Held(partition, token, holders.living(now)),
                    Err(refusal) => Answer::HoldRefused(partition, token, refusal),
                })
            }
            Action::Drop { partition, token } => {
                holders.entry(partition).or_default().drop(caller, token);
                None
            }
            Action::Watch(_) | Action::Unwatch(_) => None,
        }
    }

    fn worker(&mut self, caller: &Caller, action: &workers::Action, position: StreamId, now: u64) -> Option<Answer> {
        let lease = u64::try_from(LEASE.as_millis()).unwrap();
        let (partition, token) = match *action {
            workers::Action::Acquire(partition) => (partition, None),
            workers::Action::Renew(partition, token) | workers::Action::Release(partition, token) => {
                (partition, Some(token))
            }
            _ => return None,
        };
        let groups = self.state.groups.entry(partition).or_default();
        let result = match (action, token) {
            (workers::Action::Release(..), Some(token)) => {
                groups.release(&group(), caller, token, ("r", position), now)
            }
            (_, Some(token)) => groups.renew(&group(), caller, token, ("r", position), lease, now),
            (_, None) => groups.acquire(&group(), caller, ("r", StreamId::default()), lease, now),
        };
        let accepted = result.is_ok();
        match (accepted, token) {
            (true, None) => drop(self.grants.insert(partition, caller.clone())),
            // After a failover, the lease that the replica knows is the newest one.
            (true, Some(_)) => {
                self.unfenced += u64::from(self.grants.entry(partition).or_insert_with(|| caller.clone()) != caller)
            }
            (false, _) => {}
        }
        let is_release = matches!(action, workers::Action::Release(..));
        (!is_release).then_some(match result {
            Ok(progress) => Answer::Worker(partition, progress),
            Err(refusal) => Answer::WorkerRefused(partition, token, refusal),
        })
    }
}
