//! Access to the machine: local time, backoff, private files, protected paths, disk usage, and the resource limits of a
//! consumer. Knows no consumer and no exchange.

pub mod backoff;
pub mod clock;
pub mod disk_use;
pub mod host_name;
pub mod limits;
pub mod private;
pub mod protected;
