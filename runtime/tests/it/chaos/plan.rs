//! Draws from a seed which faults happen and when. Does nothing itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// A fault of a client on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Closes the socket without a close frame, as if it had been killed.
    Kill,
    /// Sends a reset.
    Reset,
    /// Closes the connection properly.
    Leave,
    /// Reads nothing for a while.
    Stall,
    /// Requests far more than it reads.
    Flood,
}

/// One fault of one client.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it happens, from the beginning of the run.
    pub at: Duration,
    pub fault: Fault,
    /// How long the client is disconnected or does not read.
    pub pause: Duration,
    /// Whether the client reconnects without its positions.
    pub forgets: bool,
}

/// Pseudo-random numbers from a seed (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// Creates the `which`-th sequence of a seed.
    pub fn new(seed: u64, which: u64) -> Self {
        let mut dice = Self(seed ^ which.wrapping_mul(0xD134_2543_DE82_EF95));
        dice.draw();
        dice
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.draw() % (range.end - range.start)
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.within(0..count) == 0
    }
}

/// Draws the faults of one client in a run of this length: every kind happens before any kind repeats.
pub fn steps(dice: &mut Dice, length: Duration) -> VecDeque<Step> {
    let (mut steps, mut deck) = (VecDeque::new(), Vec::new());
    let longest_gap = 1_000 + length.as_millis() as u64 / 30;
    let mut at = dice.millis(1_000..2_000);
    while at + Duration::from_secs(1) < length {
        if deck.is_empty() {
            deck = vec![Fault::Kill, Fault::Reset, Fault::Leave, Fault::Stall, Fault::Flood];
        }
        let fault = deck.swap_remove(dice.within(0..deck.len() as u64) as usize);
        let pause = match fault {
            Fault::Stall => dice.millis(400..2_000),
            Fault::Flood => dice.millis(200..600),
            // Reconnects at once, or late.
            _ if dice.one_in(2) => Duration::ZERO,
            _ => dice.millis(50..1_500),
        };
        steps.push_back(Step { at, fault, pause, forgets: dice.one_in(6) });
        at += dice.millis(500..longest_gap);
    }
    steps
}

#[test]
fn a_seed_gives_one_plan_and_every_client_gets_every_fault() {
    let plan = |seed| format!("{:?}", steps(&mut Dice::new(seed, 3), Duration::from_secs(12)));
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
    let steps = steps(&mut Dice::new(1, 3), Duration::from_secs(12));
    let kinds: std::collections::BTreeSet<Fault> = steps.iter().map(|step| step.fault).collect();
    assert_eq!(kinds.len(), 5, "{steps:?}");
}
