//! What is asked of the machine: its local time, how long to wait, files that only this user reads, places that nobody may
//! be granted, what a folder holds, and how much of it all one consumer may use up. Knows no consumer and no exchange.

pub mod backoff;
pub mod clock;
pub mod disk_use;
pub mod limits;
pub mod private;
pub mod protected;
