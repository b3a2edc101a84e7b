//! Configuration: its layers, its checks, and where each value came from.
