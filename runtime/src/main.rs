//! The `klines` command.

fn main() {}
