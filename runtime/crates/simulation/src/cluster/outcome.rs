//! What a run has found, and what it has measured.

use std::fmt;

/// The result of one run.
#[derive(Debug)]
pub struct Outcome {
    /// What happened, one line each, if that was asked for.
    pub trace: String,
    /// What was found, one line each; empty if the run has passed.
    pub faults: Vec<String>,
    /// The number of klines that readers saw.
    pub compared: usize,
    /// How many requests came with an older token than the newest, and were refused.
    pub stale: u64,
    /// How often two workers believed to have one partition, because Redis had forgotten the first.
    pub overlaps: u64,
    /// What was measured, in a large cluster.
    pub figures: Option<Figures>,
}

/// What a large cluster costs Redis while nothing happens, and how it takes the end of an ingest node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests of members in a second.
    pub members: u64,
    /// Requests for leases of holders in a second.
    pub holders: u64,
    /// Requests for leases of workers in a second.
    pub workers: u64,
    /// How long after the end of an ingest node all partitions had all of their replicas again, in milliseconds.
    pub recovered: u64,
    /// The number of partitions that other nodes began to watch meanwhile.
    pub moved: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { members, holders, workers, recovered, moved } = self;
        write!(
            out,
            "requests a second: {members} of members, {holders} of holders, {workers} of workers; {recovered} ms after an \
             ingest node was killed all partitions counted again, {moved} had moved"
        )
    }
}
