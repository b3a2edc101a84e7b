//! Tests of several parts together. Whole clusters by seed are in `klines-simulation`.

mod random;
mod writes;
