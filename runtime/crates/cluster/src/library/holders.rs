//! Calls of holders: the lease to write a partition.

use std::time::Duration;

use ::redis::{Cmd, Value};

use super::call::{Call, answer};
use super::error::LibraryError;
use super::members::{caller, ended, millis};
use crate::keys::PartitionKeys;
use crate::lease::Token;
use crate::member::Name;
use crate::membership::{Holder, Phase};
use crate::model::Caller;

/// A lease of a holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The clock of Redis, in milliseconds.
    pub now: u64,
    /// The fencing token.
    pub token: Token,
    /// The live holders in the order of their names, the caller included.
    pub holders: Vec<Holder>,
}

/// Asks for the lease of a holder, or renews it.
#[derive(Clone, Copy, Debug)]
pub struct Hold<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token; `None` for a new lease.
    pub token: Option<Token>,
    /// How long the lease lasts from now on.
    pub lease: Duration,
    /// Whether the first windows are right.
    pub phase: Phase,
}

impl Call for Hold<'_> {
    type Answer = Holding;
    const FUNCTION: &'static str = "klines_v1_hold";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.meta.clone(), self.keys.holders.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(self.token.map_or(0, |token| token.0)).arg(millis(self.lease)).arg(self.phase.as_str());
    }

    fn read(&self, value: &Value) -> Result<Holding, LibraryError> {
        let mut answer = answer::<Self>(value)?;
        let (now, token) = (answer.next("time")?, Token(answer.next("token")?));
        let mut holders = Vec::new();
        while !answer.is_over() {
            let name = answer.next_with("name of a holder", |text| Name::new(text).ok())?;
            holders.push(Holder { name, phase: answer.next_with("phase of a holder", Phase::parse)? });
        }
        holders.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Holding { now, token, holders })
    }
}

/// Ends the lease of a holder. The answer says whether there was one.
#[derive(Clone, Copy, Debug)]
pub struct Drop<'a> {
    /// The partition.
    pub keys: &'a PartitionKeys,
    /// Who asks.
    pub caller: &'a Caller,
    /// The fencing token.
    pub token: Token,
}

impl Call for Drop<'_> {
    type Answer = bool;
    const FUNCTION: &'static str = "klines_v1_drop";

    fn keys(&self) -> Vec<String> {
        vec![self.keys.holders.clone()]
    }

    fn arguments(&self, command: &mut Cmd) {
        caller(command, self.caller);
        command.arg(self.token.0);
    }

    fn read(&self, value: &Value) -> Result<bool, LibraryError> {
        ended(answer::<Self>(value)?)
    }
}
