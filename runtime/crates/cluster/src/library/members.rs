//! Calls of members: joining, beating, leaving, and who is there.

use std::time::Duration;

use ::redis::{Cmd, Value};

use super::answer::Answer;
use super::call::{Call, answer};
use super::error::LibraryError;
use crate::keys::ClusterKeys;
use crate::lease::Token;
use crate::member::{About, Member, Name, View};
use crate::model::Caller;

fn keys(keys: &ClusterKeys) -> Vec<String> {
    vec![keys.members.clone(), keys.leases.clone(), keys.meta.clone()]
}

/// Appends who asks.
pub(super) fn caller(command: &mut Cmd, caller: &Caller) {
    command.arg(caller.name.as_str()).arg(caller.instance.to_string());
}

/// Returns a duration in milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A lease of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The clock of Redis, in milliseconds.
    pub now: u64,
    /// The fencing token.
    pub token: Token,
    /// The number of changes of the view.
    pub generation: u64,
    /// The live members; `None` if the caller knows them.
    pub view: Option<View>,
}

fn membership(mut answer: Answer<'_>) -> Result<Membership, LibraryError> {
    let (now, token) = (answer.next("time")?, Token(answer.next("token")?));
    let generation = answer.next("generation")?;
    let is_full = answer.next::<u8>("view")? == 1;
    let mut members = Vec::new();
    while !answer.is_over() {
        let name = answer.next_with("name of a member", |text| Name::new(text).ok())?;
        members.push(Member { name, about: answer.next::<About>("description of a member")? });
    }
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let view = is_full.then_some(View { generation, members });
    Ok(Membership { now, token, generation, view })
}

/// Asks to become a member.
#[derive(Clone, Copy, Debug)]
pub struct Join<'a> {
    /// The cluster.
    pub keys: &'a ClusterKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// How long the lease lasts.
    pub lease: Duration,
    /// What the node does.
    pub about: &'a About,
}

impl Call for Join<'_> {
    type Answer = Membership;
    const FUNCTION: &'static str = "klines_v1_join";

    fn keys(&self) -> Vec<String> {
        keys(self.keys)
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(millis(self.lease)).arg(self.about.to_string());
    }

    fn read(&self, value: &Value) -> Result<Membership, LibraryError> {
        membership(answer::<Self>(value)?)
    }
}

/// Renews the lease of a member.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// The cluster.
    pub keys: &'a ClusterKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
    /// How long the lease lasts from now on.
    pub lease: Duration,
    /// The generation of the view that the caller knows; 0 for none.
    pub generation: u64,
}

impl Call for Beat<'_> {
    type Answer = Membership;
    const FUNCTION: &'static str = "klines_v1_beat";

    fn keys(&self) -> Vec<String> {
        keys(self.keys)
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(self.token.0).arg(millis(self.lease)).arg(self.generation);
    }

    fn read(&self, value: &Value) -> Result<Membership, LibraryError> {
        membership(answer::<Self>(value)?)
    }
}

/// Ends the lease of a member. The answer says whether it had one.
#[derive(Clone, Copy, Debug)]
pub struct Leave<'a> {
    /// The cluster.
    pub keys: &'a ClusterKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
}

impl Call for Leave<'_> {
    type Answer = bool;
    const FUNCTION: &'static str = "klines_v1_leave";

    fn keys(&self) -> Vec<String> {
        keys(self.keys)
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(self.token.0);
    }

    fn read(&self, value: &Value) -> Result<bool, LibraryError> {
        ended(answer::<Self>(value)?)
    }
}

/// Reads whether there was a lease.
pub(super) fn ended(mut answer: Answer<'_>) -> Result<bool, LibraryError> {
    answer.next::<u64>("time")?;
    Ok(answer.next::<u8>("result")? == 1)
}

/// Reads who is a member.
#[derive(Clone, Copy, Debug)]
pub struct ViewMembers<'a> {
    /// The cluster.
    pub keys: &'a ClusterKeys,
}

impl Call for ViewMembers<'_> {
    type Answer = View;
    const FUNCTION: &'static str = "klines_v1_view";
    const READ_ONLY: bool = true;

    fn keys(&self) -> Vec<String> {
        keys(self.keys)
    }

    fn arguments(&self, _: &mut Cmd) {}

    fn read(&self, value: &Value) -> Result<View, LibraryError> {
        let answer = answer::<Self>(value)?;
        let missing = answer.missing("view");
        membership(answer)?.view.ok_or(missing)
    }
}
