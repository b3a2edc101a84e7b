//! The functions in a real `redis-server`, through the typed calls, compared with the model.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod failover;
mod leases;
mod limits;
mod loading;
mod random;
mod refusals;
mod rights;
mod server;
mod trimming;
mod writing;
