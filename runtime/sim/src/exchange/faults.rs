//! Starts faults, from the script or from the handle, and ends them when their time is over.

use tokio::time::Instant;

use super::{Exchange, ExchangeState};
use crate::{
    category::Category,
    fault::{Fault, Garbage, Injection, RestFault},
    instrument::{Activity, Instrument},
    script::Action,
    wire,
};

impl Exchange {
    /// Starts a fault now.
    pub fn inject(&self, injection: Injection) {
        let state = &mut *self.state();
        self.begin(state, injection);
        self.publish_fault_state(state);
    }

    /// Ends all lasting faults.
    pub fn heal(&self) {
        let state = &mut *self.state();
        state.faults.clear();
        self.publish_fault_state(state);
    }

    /// Draws the faults of a REST call that names `category`.
    pub fn draw_rest_faults(&self, category: Option<Category>) -> Vec<RestFault> {
        let state = &mut *self.state();
        state.faults.draw_rest(category, &mut state.fault_draws)
    }

    /// Returns whether a REST fault is active for calls that name `category`.
    pub fn has_rest_fault(&self, category: Option<Category>, fault: RestFault) -> bool {
        self.state().faults.has_rest(category, fault)
    }

    /// Returns whether a category is down; the whole exchange may be up.
    pub fn is_down(&self, category: Category) -> bool {
        self.state().faults.down_on(category)
    }

    pub(super) fn run_script(&self, state: &mut ExchangeState) {
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
            self.publish_fault_state(state);
        }
    }

    fn begin(&self, state: &mut ExchangeState, injection: Injection) {
        tracing::info!(fault = ?injection.fault, category = ?injection.category, lasting = ?injection.lasting, "fault");
        let covers = |category| injection.covers(category);
        match &injection.fault {
            Fault::Drop => state.clients.cut(covers),
            Fault::DropOldest => state.clients.cut_oldest(covers),
            Fault::DeadTopic(symbol) => state.clients.kill(&format!("publicTrade.{symbol}"), covers),
            Fault::Garbage(kind) => self.send_garbage(state, *kind, covers),
            Fault::Burst(matches) => state.market.burst(*matches, state.cursor, covers),
            Fault::Halt => state.market.halt(covers),
            Fault::Delist(symbol) => state.delist(symbol, covers),
            Fault::List(symbol) => {
                if !state.list(symbol, covers)
                    && let Some(instrument) = new_instrument(injection.category, symbol)
                {
                    self.add(state, instrument);
                }
            }
            Fault::Stall
            | Fault::Mute
            | Fault::Reorder(_)
            | Fault::Duplicate
            | Fault::Slow(_)
            | Fault::Refuse(_)
            | Fault::Rest(_) => state.faults.add(injection, Instant::now()),
            Fault::Cut => {
                state.clients.cut(covers);
                state.faults.add(injection, Instant::now());
            }
            Fault::Down => {
                // The listener resets all connections if the whole exchange is down.
                if injection.category.is_some() {
                    state.clients.cut(covers);
                }
                state.faults.add(injection, Instant::now());
            }
        }
    }

    /// Publishes to connections and listener which categories are stalled and whether the exchange is down.
    fn publish_fault_state(&self, state: &ExchangeState) {
        for category in Category::ALL {
            let stalled = state.faults.stalled(category);
            self.stalls.get(category).send_if_modified(|was| std::mem::replace(was, stalled) != stalled);
        }
        let down = state.faults.down();
        self.down.send_if_modified(|was| std::mem::replace(was, down) != down);
    }

    fn send_garbage(&self, state: &mut ExchangeState, kind: Garbage, covers: impl Fn(Category) -> bool) {
        let ts = state.cursor;
        for (id, category, symbol) in state.clients.trade_subscribers(covers) {
            let text = match kind {
                Garbage::NotJson => "<html>502 Bad Gateway</html>".to_owned(),
                Garbage::Truncated => {
                    let whole = wire::forged_trade(category, &symbol, ts, "1");
                    whole.chars().take(whole.len() / 2).collect()
                }
                Garbage::BadPrice => wire::forged_trade(category, &symbol, ts, "12,5x"),
            };
            state.clients.send_data(id, &text.into(), &state.faults);
        }
    }
}

/// Returns the instrument of a symbol that the market does not know; `None` if the symbol is not one.
fn new_instrument(category: Option<Category>, symbol: &str) -> Option<Instrument> {
    let instrument = Instrument::new(category.unwrap_or(Category::Linear), symbol, "1.0000", "0.0001", "1");
    instrument.ok().map(|instrument| instrument.with_activity(Activity::LIVELY))
}

impl ExchangeState {
    fn delist(&mut self, symbol: &str, covers: impl Fn(Category) -> bool) {
        let now = self.cursor;
        for category in Category::ALL.into_iter().filter(|category| covers(*category)) {
            if let Some(symbol_state) = self.symbols.get_mut(category).get_mut(symbol) {
                symbol_state.delist(now);
            }
        }
    }

    /// Lists a symbol in the categories that `covers` accepts. Returns whether any of them knows it.
    fn list(&mut self, symbol: &str, covers: impl Fn(Category) -> bool) -> bool {
        let (now, mut known) = (self.cursor, false);
        for category in Category::ALL.into_iter().filter(|category| covers(*category)) {
            if let Some(symbol_state) = self.symbols.get_mut(category).get_mut(symbol) {
                symbol_state.list(now);
                known = true;
            }
        }
        known
    }
}
