//! What a run tells monitoring: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever restarts it or sends
//! it work. Off unless `[metrics] listen` names an address. `docs/metrics.md` lists every figure.

mod exposition;
mod health;
mod process;
mod server;

pub use self::server::bind;
