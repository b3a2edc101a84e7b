//! Layer 2: feed messages and ticks in, batches of klines out.
