//! Simulates whole runs from a seed: the sessions and the pipeline of klines on a virtual clock and a virtual network, an
//! exchange that misbehaves by a seeded plan, and an oracle that computes every kline again from the trades that the
//! exchange really had.
//!
//! Nothing here sleeps, opens a socket or reads a clock: the time of the next event is the time. Where the process ends in the
//! middle, its store is a real one, in a temporary folder. So a run of minutes takes
//! milliseconds, one seed gives the same bytes twice, and a failure is repeated with `make sim SEED=n`.
//!
//! [`cluster`] does the same with several processes on Redis.
//!
//! Two kinds of properties are checked: what is said is right (*safety*), and what can be known is said (*liveness*).

mod check;
mod client;
mod clock;
pub mod cluster;
mod disk;
mod exchange;
mod market;
mod network;
mod oracle;
mod plan;
mod rest;
mod world;

#[cfg(test)]
mod tests;

pub use self::plan::Plan;
use self::world::World;

/// The result of one run.
#[derive(Debug)]
pub struct Outcome {
    /// What happened, one line each, if that was asked for.
    pub trace: String,
    /// What was found, one line each; empty if the run has passed.
    pub faults: Vec<String>,
    /// The number of klines that were compared with the oracle.
    pub compared: usize,
    /// The number of klines that had to be complete.
    pub required: usize,
}

/// Simulates a run. With `is_traced`, the outcome has every event and every kline.
#[must_use]
pub fn run(plan: &Plan, is_traced: bool) -> Outcome {
    let mut world = World::new(plan, is_traced);
    world.run();
    world.finish()
}
