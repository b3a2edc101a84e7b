//! The holders of one partition: several nodes may write it, each under a lease of its own.

use std::collections::BTreeMap;

use super::{Caller, Grant};
use crate::lease::Token;
use crate::member::Name;
use crate::membership::{Holder, Phase};
use crate::refusal::Refusal;

/// The maximum number of holders of a partition: its replicas, and those that it is taken over from.
pub const MAX_HOLDERS: usize = 16;

/// The holders and their leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    holders: BTreeMap<Name, (Grant, Phase)>,
    tokens: u64,
}

impl Holders {
    /// Grants a lease without a token, or renews the one with it.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if another process of this name lives, [`Refusal::Full`] if there are too many holders,
    /// [`Refusal::Stale`] if the lease with the token is over.
    pub fn hold(
        &mut self,
        caller: &Caller,
        token: Option<Token>,
        phase: Phase,
        lease: u64,
        now: u64,
    ) -> Result<Token, Refusal> {
        self.expire(now);
        let known = self.holders.get(&caller.name).map(|(grant, _)| *grant);
        let token = match (known, token) {
            (Some(grant), None) if grant.instance != caller.instance => return Err(Refusal::Taken),
            (None, None) if self.holders.len() >= MAX_HOLDERS => return Err(Refusal::Full),
            (_, None) => {
                self.tokens += 1;
                Token(self.tokens)
            }
            (known, Some(token)) => {
                known.ok_or(Refusal::Stale)?.check(caller, token, now)?;
                token
            }
        };
        let grant = Grant { instance: caller.instance, token, expires: now + lease };
        self.holders.insert(caller.name.clone(), (grant, phase));
        Ok(token)
    }

    /// Ends a lease. Returns whether there was one.
    pub fn drop(&mut self, caller: &Caller, token: Token) -> bool {
        let is_owner = |(grant, _): &(Grant, Phase)| grant.instance == caller.instance && grant.token == token;
        let found = self.holders.get(&caller.name).is_some_and(is_owner);
        if found {
            self.holders.remove(&caller.name);
        }
        found
    }

    /// Returns whether the caller may write.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if not.
    pub fn check(&self, caller: &Caller, token: Token, now: u64) -> Result<(), Refusal> {
        let (grant, _) = self.holders.get(&caller.name).ok_or(Refusal::Stale)?;
        grant.check(caller, token, now)
    }

    /// Returns the live holders, in the order of their names.
    #[must_use]
    pub fn living(&self, now: u64) -> Vec<Holder> {
        let living = self.holders.iter().filter(|(_, (grant, _))| grant.is_living(now));
        living.map(|(name, (_, phase))| Holder { name: name.clone(), phase: *phase }).collect()
    }

    fn expire(&mut self, now: u64) {
        self.holders.retain(|_, (grant, _)| grant.is_living(now));
        self.holders.values_mut().for_each(|(grant, _)| grant.cut(now));
    }
}
