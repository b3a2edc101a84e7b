//! Tests of several parts together.

mod simulation;
mod writes;
