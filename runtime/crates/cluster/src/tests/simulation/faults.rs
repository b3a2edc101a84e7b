//! What goes wrong in a run, and when.

use super::network::Random;

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// A node stands still for so long; its clock goes on.
    Pause(usize, u64),
    /// A node ends, and starts again after so long.
    Kill(usize, u64),
    /// Nothing passes between a node and Redis for so long.
    Cut(usize, u64),
    /// This many of 100 messages are lost for so long.
    Loss(u64, u64),
    /// Redis loses what it did in the last milliseconds.
    Failover(u64),
    /// The clock of Redis is put forward or back.
    Step(i64),
}

/// The faults of a run, with their times.
pub(super) struct Plan {
    pub(super) faults: Vec<(u64, Fault)>,
    /// Whether the clocks of nodes run at different rates, and messages take long.
    pub(super) rough: bool,
}

impl Plan {
    pub(super) fn none() -> Self {
        Self { faults: Vec::new(), rough: false }
    }

    /// Faults of nodes and of the network. Redis keeps what it has answered.
    pub(super) fn of_nodes(seed: u64) -> Self {
        Self::with(seed, 4)
    }

    /// Also a Redis that loses its newest state, and whose clock jumps.
    pub(super) fn everything(seed: u64) -> Self {
        Self::with(seed, 6)
    }

    fn with(seed: u64, kinds: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let (mut at, mut faults) = (5_000, Vec::new());
        while at < super::FAULTS {
            let node = random.below(super::world::NODES as u64) as usize;
            let lasts = 500 + random.below(12_000);
            faults.push((
                at,
                match random.below(kinds) {
                    0 => Fault::Pause(node, lasts),
                    1 => Fault::Kill(node, lasts),
                    2 => Fault::Cut(node, lasts),
                    3 => Fault::Loss(5 + random.below(60), lasts),
                    4 => Fault::Failover(random.below(1_000)),
                    _ => Fault::Step(random.below(12_000) as i64 - 6_000),
                },
            ));
            at += 200 + random.below(4_000);
        }
        Self { faults, rough: true }
    }
}
