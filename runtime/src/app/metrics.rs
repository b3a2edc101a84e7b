//! The monitoring endpoints of a run: `/metrics` for Prometheus, `/healthz` and `/readyz` for service managers and load
//! balancers. Off unless `[metrics] listen` sets an address. `docs/metrics.md` lists every metric.

mod exposition;
mod health;
mod process;
mod server;

pub use self::process::{cpu_seconds, resident_memory};
pub use self::server::{Server, bind};
