//! Counts the memories, tables and instances of one store against the limits.

use klines_system::limits::Limits;
use wasmtime::{ResourceLimiter, Result};

use super::memory_meter::MemoryShare;

/// The most linear memories; [`Limits::memory`] bounds their total size.
const MAX_MEMORIES: usize = 32;
/// The most tables; [`Limits::table_elements`] bounds their total size.
const MAX_TABLES: usize = 100;

/// A growth of a memory that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The total bytes of all memories if the growth had been allowed.
    pub(super) wanted: usize,
    /// Whether the initial size of a memory was refused.
    pub(super) is_initial: bool,
}

/// The account of one store.
#[derive(Debug)]
pub(super) struct Account {
    most_memory: usize,
    most_elements: usize,
    most_instances: usize,
    memory: usize,
    elements: usize,
    /// The bytes of the last allowed growth; they are subtracted again if the system has no memory for it.
    last_growth: usize,
    refused: Option<Refusal>,
    /// The share of the meter that shows the memory in use.
    share: MemoryShare,
}

impl Account {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            most_memory: limits.memory,
            most_elements: limits.table_elements,
            most_instances: limits.instances,
            memory: 0,
            elements: 0,
            last_growth: 0,
            refused: None,
            share: MemoryShare::default(),
        }
    }

    /// Reports the memory in use to `share` from now on, until the account is dropped.
    pub(super) fn count_in(&mut self, share: MemoryShare) {
        self.share = share;
        self.share.set(self.memory);
    }

    /// Clears the last refusal: failures later in the same call are its consequence, failures of later calls are not.
    pub(super) fn begin_call(&mut self) {
        self.refused = None;
    }

    /// Returns the last refusal of the current call.
    pub(super) fn refused(&self) -> Option<Refusal> {
        self.refused
    }

    /// Returns the total bytes of all linear memories.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    pub(super) fn most_memory(&self) -> usize {
        self.most_memory
    }
}

impl ResourceLimiter for Account {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let growth = desired.saturating_sub(current);
        let wanted = self.memory.saturating_add(growth);
        if wanted > self.most_memory {
            self.refused = Some(Refusal { wanted, is_initial: current == 0 });
            return Ok(false);
        }
        self.memory = wanted;
        self.last_growth = growth;
        self.share.set(wanted);
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        self.memory = self.memory.saturating_sub(std::mem::take(&mut self.last_growth));
        self.share.set(self.memory);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        if wanted > self.most_elements || maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.elements = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.most_instances
    }

    fn tables(&self) -> usize {
        MAX_TABLES
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account::new(&Limits { memory: 100, table_elements: 10, ..Limits::default() })
    }

    #[test]
    fn several_memories_share_one_limit() {
        let mut account = account();
        assert!(account.memory_growing(0, 60, None).unwrap());
        assert!(account.memory_growing(0, 40, None).unwrap());
        assert!(!account.memory_growing(60, 61, None).unwrap());
        assert_eq!(account.refused(), Some(Refusal { wanted: 101, is_initial: false }));
        account.begin_call();
        assert_eq!(account.refused(), None);
    }

    #[test]
    fn a_refused_or_failed_growth_is_not_charged() {
        let mut account = account();
        assert!(!account.memory_growing(0, 101, None).unwrap());
        assert_eq!(account.refused().map(|refusal| refusal.is_initial), Some(true));
        assert!(account.memory_growing(0, 100, None).unwrap());
        account.memory_grow_failed(wasmtime::Error::msg("no memory")).unwrap();
        assert!(account.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn the_guests_own_maximum_is_not_a_refusal() {
        let mut account = account();
        assert!(!account.memory_growing(0, 60, Some(50)).unwrap());
        assert_eq!(account.refused(), None);
    }

    #[test]
    fn several_tables_share_one_limit() {
        let mut account = account();
        assert!(account.table_growing(0, 6, None).unwrap());
        assert!(!account.table_growing(0, 5, None).unwrap());
        assert!(account.table_growing(0, 4, None).unwrap());
    }
}
