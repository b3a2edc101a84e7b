//! The plan of a run: the size of the cluster, and what goes wrong when. All of it comes from the seed.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use klines_cluster::lease::{BEAT, LEASE};
use klines_cluster::model::MAX_LEASE;

/// A time of a run, in milliseconds since its start.
pub type Millis = u64;

/// When everything is set up and the first fault can happen.
pub const QUIET_START: Millis = 15_000;
/// When the last fault begins in a small cluster.
const LAST_FAULT: Millis = 60_000;
/// The longest time that a fault lasts.
const LONGEST: Millis = 12_000;
/// The most that a failover loses.
const MOST_LOST: Millis = 1_000;
/// The most by which the clock of Redis jumps.
const MOST_STEP: i64 = 6_000;
/// The most by which the clocks of two servers differ.
pub const MOST_SKEW: Millis = 500;
/// The longest time until a node connects again.
pub const RECONNECT: Millis = 2_000;
/// The times that a node needs until its first windows are right.
pub const SEEDING: std::ops::Range<Millis> = 300..4_300;
/// How long a worker needs at most to finish a delivery.
pub const DELIVERY: Millis = 1_500;

const fn millis(duration: Duration) -> Millis {
    duration.as_secs() * 1_000
}

/// Returns how long after the last fault every partition must have its holders and its worker: nodes connect; leases of
/// processes that are no more end, later by what the clock of Redis was put back; a beat joins and another one tells the
/// others, which seed while workers finish; the next beats say so, release, and acquire. Beats of slow clocks are a tenth
/// longer.
const fn recovery(put_back: Millis) -> Millis {
    let (beat, lease) = (millis(BEAT) + millis(BEAT) / 10, millis(LEASE) + put_back);
    RECONNECT + if lease < MAX_LEASE { lease } else { MAX_LEASE } + 2 * beat + SEEDING.end + 3 * beat
}

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Nodes are replaced in order, one after the other.
    Orderly,
    /// Only Redis fails.
    Redis,
    /// Nodes and the network fail; Redis keeps what it has answered.
    Nodes,
    /// Everything fails.
    Everything,
    /// A large cluster, of which single nodes end, and then Redis.
    Large,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A node stands still; its clock goes on.
    Pause(usize),
    /// A node ends, and starts again.
    Kill(usize),
    /// A node leaves in order, and starts again.
    Leave(usize),
    /// Nothing passes between a node and Redis.
    Cut(usize),
    /// This many of 100 messages are lost.
    Loss(u64),
    /// Many messages take long, so that others overtake them.
    Delay,
    /// A replica takes over that lacks the last milliseconds.
    Failover(Millis),
    /// The same, while the nodes whose bit is not set keep the old master; in the end, one of the two wins.
    Split { lost: Millis, nodes: u64, promoted_wins: bool },
    /// The clock of Redis is put forward, or back.
    Step(i64),
}

impl Kind {
    /// Returns how much of the last time a replica lacks that takes over.
    pub const fn lost(self) -> Option<Millis> {
        match self {
            Self::Failover(lost) | Self::Split { lost, .. } => Some(lost),
            _ => None,
        }
    }

    /// Returns by how much it puts the clock of Redis back. The clocks of two servers differ, too.
    const fn put_back(self) -> Option<Millis> {
        match self {
            Self::Step(by) if by < 0 => Some(by.unsigned_abs()),
            Self::Failover(_) | Self::Split { .. } => Some(MOST_SKEW),
            _ => None,
        }
    }

    /// Returns whether Redis may grant what it has granted to another node before.
    pub const fn is_of_redis(self) -> bool {
        matches!(self, Self::Failover(_) | Self::Split { .. } | Self::Step(_))
    }
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Millis,
    /// How long it lasts.
    pub lasts: Millis,
    /// What it is.
    pub kind: Kind,
}

/// The plan of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed from which everything is drawn.
    pub seed: u64,
    /// What the run is about.
    pub style: Style,
    /// The number of nodes that watch symbols; in a small cluster these are workers, too.
    pub ingest: usize,
    /// The number of further nodes that work for the group.
    pub workers: usize,
    /// The number of further nodes that only read.
    pub gateways: usize,
    /// The number of partitions.
    pub partitions: u16,
    /// The length of windows.
    pub window: Millis,
    /// Whether the clocks of nodes run at different rates, and single messages take long.
    pub is_rough: bool,
    /// What goes wrong, in order of time.
    pub faults: Vec<Fault>,
    /// When everything works again.
    pub healed: Millis,
    /// When the run ends.
    pub end: Millis,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let style = match seed {
            _ if seed % 50 == 49 => Style::Large,
            _ if seed % 5 == 1 => Style::Orderly,
            _ if seed % 5 == 2 => Style::Redis,
            _ if seed % 5 == 3 => Style::Nodes,
            _ => Style::Everything,
        };
        let mut rng = Rng::with_seed(seed ^ 0x636c_7573_7465_7200);
        let is_large = style == Style::Large;
        let mut plan = Self {
            seed,
            style,
            ingest: if is_large { 10 } else { rng.usize(3..=5) },
            workers: if is_large { 8 } else { 0 },
            gateways: if is_large { 100 } else { rng.usize(0..=1) },
            partitions: if is_large { 64 } else { 8 },
            window: if is_large { 5_000 } else { 1_000 },
            is_rough: style != Style::Redis,
            faults: Vec::new(),
            healed: 0,
            end: 0,
        };
        match style {
            Style::Orderly => plan.replace_nodes(&mut rng),
            Style::Large => plan.fail_at_size(&mut rng),
            Style::Nodes if rng.bool() => plan.come_and_go(&mut rng),
            Style::Redis | Style::Nodes | Style::Everything => plan.fail(&mut rng),
        }
        plan.healed = plan.faults.iter().map(|fault| fault.at + fault.lasts).max().unwrap_or(QUIET_START);
        let put_back = plan.faults.iter().filter_map(|fault| fault.kind.put_back()).sum();
        plan.end = plan.healed + recovery(put_back);
        plan
    }

    /// Returns the number of nodes.
    pub const fn nodes(&self) -> usize {
        self.ingest + self.workers + self.gateways
    }

    fn add(&mut self, at: Millis, lasts: Millis, kind: Kind) {
        self.faults.push(Fault { at, lasts, kind });
    }

    /// A node has 22 s to leave, and the cluster half a minute to be whole again.
    fn replace_nodes(&mut self, rng: &mut Rng) {
        let first = rng.usize(0..self.ingest);
        for (at, node) in [(QUIET_START, first), (QUIET_START + 50_000, (first + 1) % self.ingest)] {
            self.add(at + rng.u64(0..1_000), 22_000, Kind::Leave(node));
        }
    }

    fn fail_at_size(&mut self, rng: &mut Rng) {
        self.add(20_000 + rng.u64(0..1_000), 25_000, Kind::Kill(rng.usize(0..self.ingest)));
        self.add(65_000 + rng.u64(0..1_000), 10_000, Kind::Kill(self.ingest + rng.usize(0..self.workers)));
        self.add(65_000 + rng.u64(0..1_000), 10_000, Kind::Kill(self.nodes() - 1));
        let kind = self.failure(rng);
        self.add(85_000, 1 + rng.u64(0..5_000), kind);
    }

    /// One node comes and goes every few seconds while messages are late: what it has changes hands back and forth.
    fn come_and_go(&mut self, rng: &mut Rng) {
        let (mut at, node) = (QUIET_START, rng.usize(0..self.ingest));
        self.add(at, LAST_FAULT - at, Kind::Delay);
        while at < LAST_FAULT {
            let lasts = rng.u64(500..4_000);
            self.add(at, lasts, Kind::Leave(node));
            at += lasts + rng.u64(1_500..4_500);
        }
    }

    fn fail(&mut self, rng: &mut Rng) {
        let (mut at, mut redis_again) = (QUIET_START + rng.u64(0..3_000), 0);
        while at < LAST_FAULT {
            let lasts = 500 + rng.u64(0..LONGEST - 500);
            let is_of_redis = match self.style {
                Style::Redis => true,
                Style::Nodes => false,
                _ => rng.u8(0..3) == 0,
            };
            if !is_of_redis {
                let kind = self.trouble(rng);
                self.add(at, lasts, kind);
            } else if at > redis_again + 2 * RECONNECT && rng.u8(0..4) == 0 {
                let by = rng.i64(-MOST_STEP..MOST_STEP);
                self.add(at, 0, Kind::Step(by));
                // An epoch whose beginning is lost can begin again under its number while the clock shows earlier times.
                redis_again = at + 1_000 + by.min(0).unsigned_abs();
            } else if at > redis_again {
                let kind = self.failure(rng);
                let lasts = if matches!(kind, Kind::Split { .. }) { lasts } else { 0 };
                // What a replica lacks was done after the last failure.
                redis_again = at + lasts + MOST_LOST;
                self.add(at, lasts, kind);
            }
            at += 200 + rng.u64(0..if self.style == Style::Redis { 9_000 } else { 4_000 });
        }
    }

    /// Draws what goes wrong with a node or the network.
    fn trouble(&self, rng: &mut Rng) -> Kind {
        let node = rng.usize(0..self.nodes());
        match rng.u8(0..6) {
            0 => Kind::Pause(node),
            1 => Kind::Kill(node),
            2 => Kind::Cut(node),
            3 => Kind::Loss(rng.u64(5..65)),
            4 => Kind::Leave(node),
            _ => Kind::Delay,
        }
    }

    /// Draws how Redis fails.
    fn failure(&self, rng: &mut Rng) -> Kind {
        let lost = rng.u64(0..MOST_LOST);
        match rng.bool() {
            true => Kind::Failover(lost),
            false => Kind::Split { lost, nodes: rng.u64(..), promoted_wins: rng.u8(0..3) > 0 },
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, style, ingest, workers, gateways, partitions, window, is_rough, faults, .. } = self;
        writeln!(
            out,
            "seed {seed}, cluster ({style:?}): {ingest} ingest nodes, {workers} workers, {gateways} gateways"
        )?;
        writeln!(out, "{partitions} partitions, windows of {window} ms, clocks of different rates: {is_rough}")?;
        faults
            .iter()
            .try_for_each(|Fault { at, lasts, kind }| writeln!(out, "at {at:>7} ms for {lasts:>6} ms: {kind:?}"))
    }
}
