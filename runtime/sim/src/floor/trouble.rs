//! Carries faults out: from the script, from the handle, and ends them in time.

use tokio::time::Instant;

use super::{Floor, State};
use crate::{
    category::Category,
    fault::{Fault, Garbage, Injection, RestFault},
    script::Action,
    wire,
};

impl Floor {
    /// Lets a fault happen now.
    pub fn inject(&self, injection: Injection) {
        let state = &mut *self.state();
        self.begin(state, injection);
        self.announce(state);
    }

    /// Ends all lasting faults.
    pub fn heal(&self) {
        let state = &mut *self.state();
        state.faults.clear();
        self.announce(state);
    }

    /// What goes wrong now with a REST call.
    pub fn rest_faults(&self, category: Option<Category>) -> Vec<RestFault> {
        self.state().faults.rest(category)
    }

    /// Whether a category is gone while the exchange is there.
    pub fn is_down(&self, category: Category) -> bool {
        self.state().faults.down_on(category)
    }

    pub(super) fn run_script(&self, state: &mut State) {
        let elapsed = self.clock.elapsed();
        let mut changed = state.faults.expire(Instant::now());
        while state.script.front().is_some_and(|step| step.at <= elapsed) {
            let Some(step) = state.script.pop_front() else { break };
            changed = true;
            match step.action {
                Action::Inject(injection) => self.begin(state, injection),
                Action::Heal => state.faults.clear(),
            }
        }
        if changed {
            self.announce(state);
        }
    }

    fn begin(&self, state: &mut State, injection: Injection) {
        tracing::info!(fault = ?injection.fault, category = ?injection.category, lasting = ?injection.lasting, "fault");
        let covers = |category| injection.covers(category);
        match &injection.fault {
            Fault::Drop => state.peers.cut(covers),
            Fault::Garbage(kind) => self.litter(state, *kind, covers),
            Fault::Delist(symbol) => state.set_listed(symbol, false, covers),
            Fault::List(symbol) => state.set_listed(symbol, true, covers),
            Fault::Stall
            | Fault::Mute
            | Fault::Reorder(_)
            | Fault::Duplicate
            | Fault::Slow(_)
            | Fault::Refuse(_)
            | Fault::Rest(_) => state.faults.add(injection, Instant::now()),
            Fault::Down => {
                // The listener takes care of the whole exchange.
                if injection.category.is_some() {
                    state.peers.cut(covers);
                }
                state.faults.add(injection, Instant::now());
            }
        }
    }

    /// Tells the connections and the listener what they must know.
    fn announce(&self, state: &State) {
        for category in Category::ALL {
            let stalled = state.faults.stalled(category);
            self.stalls.get(category).send_if_modified(|was| std::mem::replace(was, stalled) != stalled);
        }
        let down = state.faults.down();
        self.down.send_if_modified(|was| std::mem::replace(was, down) != down);
    }

    fn litter(&self, state: &mut State, kind: Garbage, covers: impl Fn(Category) -> bool) {
        let ts = state.cursor;
        for (id, category, symbol) in state.peers.trade_listeners(covers) {
            let text = match kind {
                Garbage::NotJson => "<html>502 Bad Gateway</html>".to_owned(),
                Garbage::Truncated => {
                    let whole = wire::forged_trade(category, &symbol, ts, "1");
                    whole.chars().take(whole.len() / 2).collect()
                }
                Garbage::BadPrice => wire::forged_trade(category, &symbol, ts, "12,5x"),
            };
            state.peers.send_data(id, &text.into(), &state.faults);
        }
    }
}

impl State {
    fn set_listed(&mut self, symbol: &str, listed: bool, covers: impl Fn(Category) -> bool) {
        let now = self.cursor;
        for category in Category::ALL.into_iter().filter(|category| covers(*category)) {
            match self.books.get_mut(category).get_mut(symbol) {
                Some(book) if listed => book.list(now),
                Some(book) => book.listed = false,
                None => {}
            }
        }
    }
}
