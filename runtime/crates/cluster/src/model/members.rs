//! The members of a cluster: joining, beating, leaving.

use std::collections::BTreeMap;

use super::{Caller, Grant};
use crate::lease::Token;
use crate::member::{About, Member, Name, View};
use crate::refusal::Refusal;

/// The maximum number of members.
pub const MAX_MEMBERS: usize = 1_024;

/// The members and their leases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    members: BTreeMap<Name, (Grant, About)>,
    generation: u64,
    tokens: u64,
}

impl Members {
    /// Makes the caller a member.
    ///
    /// # Errors
    /// [`Refusal::Taken`] if another process of this name lives, [`Refusal::Full`] if there are too many members.
    pub fn join(&mut self, caller: &Caller, about: &About, lease: u64, now: u64) -> Result<Token, Refusal> {
        self.expire(now);
        match self.members.get(&caller.name) {
            Some((grant, _)) if grant.instance != caller.instance => return Err(Refusal::Taken),
            None if self.members.len() >= MAX_MEMBERS => return Err(Refusal::Full),
            _ => {}
        }
        self.tokens += 1;
        self.generation += 1;
        let token = Token(self.tokens);
        let grant = Grant { instance: caller.instance, token, expires: now + lease };
        self.members.insert(caller.name.clone(), (grant, about.clone()));
        Ok(token)
    }

    /// Renews the lease of a member.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if it is over or another's.
    pub fn beat(&mut self, caller: &Caller, token: Token, lease: u64, now: u64) -> Result<(), Refusal> {
        self.expire(now);
        let (grant, _) = self.members.get_mut(&caller.name).ok_or(Refusal::Stale)?;
        grant.check(caller, token, now)?;
        grant.expires = now + lease;
        Ok(())
    }

    /// Ends the lease of a member. Returns whether it had one.
    pub fn leave(&mut self, caller: &Caller, token: Token) -> bool {
        let is_owner = |(grant, _): &(Grant, About)| grant.instance == caller.instance && grant.token == token;
        let found = self.members.get(&caller.name).is_some_and(is_owner);
        if found {
            self.members.remove(&caller.name);
            self.generation += 1;
        }
        found
    }

    /// Returns the live members.
    #[must_use]
    pub fn view(&self, now: u64) -> View {
        let living = self.members.iter().filter(|(_, (grant, _))| grant.is_living(now));
        let members = living.map(|(name, (_, about))| Member { name: name.clone(), about: about.clone() });
        View { generation: self.generation, members: members.collect() }
    }

    /// Returns the number of changes so far.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    fn expire(&mut self, now: u64) {
        let before = self.members.len();
        self.members.retain(|_, (grant, _)| grant.is_living(now));
        self.members.values_mut().for_each(|(grant, _)| grant.cut(now));
        if self.members.len() < before {
            self.generation += 1;
        }
    }
}
