//! Simulates whole clusters from a seed: the state machines of nodes and workers on clocks of their own, a network that
//! delays, loses and reorders, and Redis as the model of its functions, which fails over, forgets, and splits.
//!
//! Checked are leases and tokens where Redis decides (`server`), what readers see (`reader`), and that after the faults
//! every partition has its holders, its worker and its klines within a time that follows from the leases (`world/end`).

mod market;
mod outcome;
mod plan;
mod process;
mod reader;
mod server;
mod world;

pub use self::outcome::{Figures, Outcome};
pub use self::plan::Plan;
use self::world::World;

/// Simulates a run. With `is_traced`, the outcome has every request and answer.
#[must_use]
pub fn run(plan: &Plan, is_traced: bool) -> Outcome {
    let mut world = World::new(plan, is_traced);
    world.run();
    world.finish()
}
