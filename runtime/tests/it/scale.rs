//! A whole exchange at once: 1,440 symbols and 14 intervals. Every kline of a boundary with 20,160 klines reaches every
//! consumer exactly once, with the smallest queues that can be configured.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod capacity;
mod market;
mod program;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use klines_delivery::data_dir::DataDir;
use klines_delivery::filter::Watched;
use klines_delivery::hub::Hub;
use klines_delivery::manager::{Manager, Spec, Summary};
use klines_delivery::policy::OnError;
use klines_delivery::queue::Grouping;
use klines_delivery::stats::State;
use klines_delivery::trusted_work::TrustedWork;
use klines_delivery::{Blueprint, Consumer, Delivery, Failure, Next, Problem, Subscription};
use klines_system::limits::Limits;
use klines_wasm::state::StateStore;
use klines_wasm::{Setup, WasmBlueprint};
use market::{Identity, Market, SYMBOLS};

use crate::sandbox::{fixtures, guest_log};

const PATIENCE: Duration = Duration::from_secs(120);

/// What a [`Recorder`] got: identities of klines, and the number that was reported as lost.
type Taken = Arc<Mutex<(Vec<Identity>, u64)>>;

/// A consumer that records every delivery.
struct Recorder(Taken);

impl Blueprint for Recorder {
    fn validate(&mut self) -> Vec<Problem> {
        Vec::new()
    }

    fn instantiate(&mut self, _: &Arc<TrustedWork>) -> Result<Box<dyn Consumer>, Failure> {
        Ok(Box::new(Self(self.0.clone())))
    }
}

impl Consumer for Recorder {
    fn setup(&mut self) -> Result<Subscription, Failure> {
        Ok(Subscription { closed_only: true, ..Subscription::default() })
    }

    fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn consume(&mut self, delivery: &Delivery) -> Result<Next, Failure> {
        let mut taken = self.0.lock().unwrap();
        taken.0.extend(delivery.klines.iter().map(|kline| market::identity(kline)));
        taken.1 += delivery.lost;
        Ok(Next::Deliver)
    }

    fn stop(&mut self) {}
}

fn spec(name: &str, blueprint: impl Blueprint, grouping: Grouping, allowed: Subscription) -> Spec {
    let (name, blueprint) = (name.to_owned(), Box::new(blueprint));
    // The smallest queue that can be configured: two boundaries still have to fit.
    Spec { name, blueprint, allowed, queue: 1, grouping, on_error: OnError::default(), hub: None }
}

/// Returns the component that records every kline in its state, and logs at the end how many came, came twice and are
/// missing.
fn ledger(name: &str, folder: &Path) -> WasmBlueprint {
    guest_log::record();
    let limits = Limits { call: Duration::from_secs(60), ..Limits::default() };
    let state = StateStore::new(&DataDir::scratch(folder), name, usize::MAX);
    WasmBlueprint::new(
        fixtures::component("ledger"),
        Setup { limits, state: Some(Arc::new(state)), ..Setup::plain(name, "{}") },
    )
}

#[test]
fn every_kline_of_every_boundary_reaches_every_consumer_once() {
    let (folder, hub) = (tempfile::tempdir().unwrap(), Hub::new());
    let few = Subscription { symbols: market::symbols()[..10].to_vec(), ..Subscription::default() };
    let [single, whole, part] = [(); 3].map(|()| Taken::default());
    let specs = vec![
        spec("single", Recorder(single.clone()), Grouping::UpTo(64), Subscription::default()),
        spec("whole", Recorder(whole.clone()), Grouping::Boundary, Subscription::default()),
        spec("part", Recorder(part.clone()), Grouping::UpTo(64), few.clone()),
        spec("scale-ledger", ledger("scale-ledger", folder.path()), Grouping::UpTo(64), Subscription::default()),
    ];
    let manager = Manager::start(specs, &hub, &DataDir::scratch(folder.path())).unwrap();
    assert!(manager.started(PATIENCE).iter().all(|started| started.result.is_ok()));
    hub.watch(Watched { symbols: market::symbols(), intervals: market::intervals() });
    let (mut expected, mut largest) = (Vec::new(), 0);
    for day in 0..3 {
        let mut market = Market::new(day);
        market.play(|batches| {
            largest = largest.max(batches.iter().map(|batch| batch.klines.len()).sum());
            // No consumer is more than one boundary behind, which its queue can hold.
            hub.wait_for_room();
            batches.iter().for_each(|batch| hub.publish(batch));
        });
        expected.extend(market.expected());
    }
    assert_eq!(largest, SYMBOLS * market::intervals().len(), "all windows close at one moment");
    let summaries = manager.shutdown(PATIENCE);
    expected.sort_unstable();
    let of_few: Vec<Identity> = expected.iter().filter(|found| few.symbols.contains(&found.1)).cloned().collect();
    for (name, taken, wanted) in [("single", single, &expected), ("whole", whole, &expected), ("part", part, &of_few)] {
        let (mut found, lost) = std::mem::take(&mut *taken.lock().unwrap());
        found.sort_unstable();
        assert_eq!((found.len(), lost), (wanted.len(), 0), "{name}");
        assert!(found == *wanted, "{name}: the klines differ from the expected ones");
    }
    for Summary { name, stats } in summaries {
        let wanted = if name == "part" { of_few.len() } else { expected.len() } as u64;
        assert_eq!((stats.state, stats.delivered, stats.lost()), (State::Stopped, wanted, 0), "{name}");
    }
    let last = guest_log::lines("scale-ledger").pop();
    assert_eq!(last, Some(format!("count {} doubles 0 holes 0 lost 0", expected.len())));
}
