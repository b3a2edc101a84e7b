//! What goes wrong on a connection, as the plan says.

use klines_domain::time::Millis;

use super::{Event, World};
use crate::plan::{Fault, Kind};

/// How often noise is sent while it lasts.
const NOISE: Millis = 700;

impl World<'_> {
    pub(super) fn fail(&mut self, fault: Fault) {
        let (now, Fault { kind, connection, until, .. }) = (self.now, fault);
        let Some(peer) = self.peers.get_mut(connection) else { return };
        match kind {
            Kind::Drop | Kind::Down => {
                if kind == Kind::Down {
                    peer.network.down_until = until;
                }
                if peer.is_open {
                    peer.is_open = false;
                    let generation = peer.generation;
                    self.forget(connection);
                    self.checker.lost(connection, now);
                    let transit = self.rng.i64(1..40);
                    self.later(transit, Event::Closed(connection, generation));
                }
            }
            Kind::HalfOpen | Kind::Mute => {
                let state = if kind == Kind::Mute { &mut peer.is_mute } else { &mut peer.network.is_half_open };
                *state = true;
                self.checker.lost(connection, now);
            }
            Kind::Stall => peer.network.stalled_until = until,
            Kind::Duplicate => peer.duplicate_until = until,
            Kind::Reorder => peer.reorder_until = until,
            Kind::Damage => peer.is_damaging = true,
            Kind::NoAnswer => peer.no_answer_until = until,
            Kind::Noise => {
                peer.noise_until = until;
                self.later(0, Event::Noise(connection));
            }
            Kind::Pause if self.is_down() => {}
            Kind::Pause => {
                let (since, known) = self.paused.unwrap_or((now, until));
                self.paused = Some((since, known.max(until)));
            }
        }
    }

    /// Loses what is under way to the client.
    fn forget(&mut self, connection: usize) {
        let is_lost = |event: &Event| matches!(event, Event::Frame(of, ..) if *of == connection);
        self.events.iter_mut().for_each(|event| drop(event.take_if(|event| is_lost(event))));
    }

    pub(super) fn noise(&mut self, connection: usize) {
        const NOISES: [&str; 4] = ["", "{", r#"{"topic":"tickers.BTCUSDT","data":{}}"#, r#"{"success":7}"#];
        let text = NOISES.get(self.rng.usize(0..NOISES.len())).copied().unwrap_or_default();
        self.send(connection, text.to_owned());
        if self.peers.get(connection).is_some_and(|peer| self.now < peer.noise_until) {
            self.later(NOISE, Event::Noise(connection));
        }
    }
}
