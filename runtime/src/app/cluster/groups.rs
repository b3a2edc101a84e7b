//! Consumers of a serve node that share the partitions with those of other nodes: `group` in `[consumers.NAME]`.

use std::fmt;
use std::sync::{Arc, Weak};

use klines_cluster::group::{Find, Group, GroupBlueprint, Instances, Settings};
use klines_cluster::member::Name;
use klines_cluster::roster::Roster;
use klines_config::consumers::{Consumer, Group as Choice};
use klines_delivery::hub::Hub;
use klines_delivery::manager::Spec;
use klines_delivery::queue::Grouping;
use klines_delivery::shared_state::SharedState;
use klines_delivery::{Blueprint, Problem, Profile};
use klines_wasm::WasmBlueprint;
use klines_wasm::state::StateStore;

/// The minimum number of klines for which the queue of such a consumer has room: two of the largest entries.
const QUEUE: usize = 2 * klines_cluster::version::MAX_KLINES;

/// Lets consumers work for groups.
#[derive(Clone)]
pub struct Groups {
    pub(super) server: klines_cluster::server::Server,
    pub(super) node: klines_cluster::node::Settings,
    pub(super) roster: Arc<Roster>,
    pub(super) run: Arc<Hub>,
    pub(super) find: Find,
}

impl fmt::Debug for Groups {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Groups").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Groups {
    /// Returns the group of a consumer; `None` if it gets every kline.
    #[must_use]
    pub fn join(&self, consumer: &Consumer) -> Option<Arc<Group>> {
        if consumer.group == Choice::Every {
            return None;
        }
        let settings = Settings {
            server: self.server.clone(),
            cluster: self.node.cluster.clone(),
            node: self.node.name.clone(),
            // The name of a consumer has only letters, digits, `-` and `_`.
            group: Name::new(&consumer.name).ok()?,
            is_single: consumer.group == Choice::Single,
            partitions: self.node.partitions,
            find: self.find.clone(),
        };
        Some(Group::new(settings, self.roster.clone(), &self.run))
    }
}

/// Returns what creates the instances of a component: one for each partition if it works for a group.
#[must_use]
pub fn blueprint(component: WasmBlueprint, group: Option<&Arc<Group>>) -> Box<dyn Blueprint> {
    match group {
        Some(group) => Box::new(GroupBlueprint::new(Arc::new(Component(component)), group.clone())),
        None => Box::new(component),
    }
}

/// Does the same for another version of a component that runs.
#[must_use]
pub fn renewed(component: WasmBlueprint, group: Option<&Weak<Group>>) -> Box<dyn Blueprint> {
    blueprint(component, group.and_then(Weak::upgrade).as_ref())
}

/// Adapts what the manager starts to its group.
#[must_use]
pub fn grouped(spec: Spec, group: Option<&Arc<Group>>) -> Spec {
    match group {
        // One entry of a stream in each call, whose position is written with the state.
        Some(group) => {
            Spec { hub: Some(group.hub()), grouping: Grouping::Boundary, queue: spec.queue.max(QUEUE), ..spec }
        }
        None => spec,
    }
}

struct Component(WasmBlueprint);

impl Instances for Component {
    fn with_state(&self, state: Arc<dyn SharedState>) -> Box<dyn Blueprint> {
        Box::new(self.0.with_state(|quota| StateStore::elsewhere(state, quota)))
    }

    fn validate(&self) -> Vec<Problem> {
        self.0.begin_validation().problems()
    }

    fn profile(&self) -> Profile {
        self.0.profile()
    }
}
