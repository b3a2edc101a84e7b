//! What the functions in Redis do, once more in Rust: pure values that take the time as an argument. Simulations run
//! nodes on these models, and tests compare the functions with them.

pub mod groups;
pub mod holders;
pub mod ledger;
pub mod members;
pub mod record;

use klines_domain::mutants::Mutant;

use crate::lease::Token;
use crate::member::{Instance, Name};
use crate::refusal::Refusal;

/// The longest lease, in milliseconds. A lease that would last longer, because the clock of Redis was put back, is cut.
pub const MAX_LEASE: u64 = 30_000;

/// Who asks: the name of a node and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the node.
    pub name: Name,
    /// The process.
    pub instance: Instance,
}

/// A lease as Redis keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) instance: Instance,
    pub(crate) token: Token,
    pub(crate) expires: u64,
}

impl Grant {
    pub(crate) const fn is_living(self, now: u64) -> bool {
        self.expires > now
    }

    /// Returns whether a request comes from the owner of this lease, and the lease lasts.
    pub(crate) fn check(self, caller: &Caller, token: Token, now: u64) -> Result<(), Refusal> {
        let is_newest = self.token == token || Mutant::StaleTokenAccepted.is_made();
        let is_owner = self.instance == caller.instance && is_newest;
        if is_owner && self.is_living(now) { Ok(()) } else { Err(Refusal::Stale) }
    }

    /// Cuts a lease that lasts longer than any.
    pub(crate) const fn cut(&mut self, now: u64) {
        if self.expires > now + MAX_LEASE {
            self.expires = now + MAX_LEASE;
        }
    }
}

#[cfg(test)]
mod tests;
