//! What is asked of the machine: its local time, how long to wait, files that only this user reads, places that nobody may be granted, and
//! what a folder holds. Knows no consumer and no exchange.

pub mod backoff;
pub mod clock;
pub mod disk_use;
pub mod private;
pub mod protected;
