//! What instances that read klines of the past need: the consumer's position, and a start that is late enough.

use std::time::Duration;

use tracing::info;

use super::{End, Worker};
use crate::consumer::Consumer;

/// How often the thread looks whether the past is known, and the shortest wait: klines that were published before the queue
/// existed are stored within this time.
const PAUSE: Duration = Duration::from_millis(500);

impl Worker {
    /// Gives an instance the position of the consumer. A delivery that waits for its next instance is not delivered.
    pub(super) fn let_follow(&self, consumer: &mut dyn Consumer) {
        self.position.set_undelivered(self.pending.as_ref().map(|pending| pending.delivery.klines.clone()));
        consumer.follow(&self.position);
    }

    /// Waits before the start of an instance that reads klines of the past, until that is known. An order or the end of the
    /// run ends the wait. The queue fills meanwhile.
    pub(super) fn wait_for_the_past(&self) -> Result<(), End> {
        let Some(seeded) = self.blueprint.profile().seeded else { return Ok(()) };
        let mut waits = 0_u32;
        loop {
            if self.shared.queue.pause(PAUSE) {
                return Err(End::RunEnded);
            }
            if self.shared.queue.has_order() {
                return Err(End::Ordered);
            }
            if seeded.is_over() || self.shared.queue.is_ending() {
                return Ok(());
            }
            if waits == 0 {
                info!(consumer = self.shared.name, "consumer starts when the first windows are known");
            }
            waits += 1;
        }
    }
}
