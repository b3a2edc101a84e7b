//! The integration tests: one binary, with one module per promise of the program.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests may fail loudly, and so may what they share"
)]

mod admin;
mod authoring;
mod backfill;
mod budgets;
mod chaos;
mod check;
mod cli;
mod cluster;
mod config;
mod consumer_test;
mod contract;
mod documents;
mod emit;
mod endings;
mod files;
mod hostile_neighbour;
mod hostile_suite;
mod layers;
mod live;
mod metrics;
mod operate;
mod redis;
mod replay;
mod sandbox;
mod scale;
mod session;
mod sharing;
mod stalls;
mod store;
mod supervision;
mod support;
mod websocket;
