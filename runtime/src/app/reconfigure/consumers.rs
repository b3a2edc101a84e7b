//! Adds, replaces and removes consumers that are components while a run goes on. Native ones, which own ports and
//! connections, need a restart.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use klines_config::consumers::{Component, Consumer};
use klines_config::{Config, Diagnostic, Report, Severity};
use klines_delivery::emit::relay::Publishers;
use klines_delivery::manager::{Manager, Spec, Summary};
use klines_wasm::component_loader::Components;
use tracing::{error, info};

use super::{Effects, Part};
use crate::app::cluster::groups::Groups;
use crate::app::locks::Trust;
use crate::app::observed::Observed;
use crate::app::reload::Reloader;
use crate::app::wiring;

/// How long a consumer that is replaced or removed may take to finish.
const DRAIN: Duration = Duration::from_secs(10);

/// The consumers of a run.
pub struct Consumers {
    manager: Arc<Manager>,
    components: Arc<Components>,
    reloader: Reloader,
    /// Takes the values that they publish; `None` if nothing does.
    publishers: Option<Publishers>,
    observed: Arc<Observed>,
    /// What lets them work for groups, if there is a cluster.
    groups: Option<Groups>,
    state: Mutex<State>,
}

struct State {
    /// The consumers that run, as they were configured.
    running: Vec<Consumer>,
    /// The consumers to start.
    prepared: Option<wiring::Consumers>,
}

impl Part for Consumers {
    fn takes(&self, key: &str) -> bool {
        key == "enabled_consumers" || matches!(key.split('.').next(), Some("consumers" | "trusted_keys"))
    }

    fn check(&self, config: &Config) -> Report {
        let mut state = self.lock();
        state.prepared = None;
        let mut further = config.clone();
        further.consumers.retain(|consumer| !is_native(consumer) && !state.running.contains(consumer));
        if further.consumers.is_empty() {
            return Report::default();
        }
        let Observed { catalog, past, data_dir, .. } = &*self.observed;
        let reads = (self.publishers.as_ref(), past, self.groups.as_ref());
        match wiring::prepare_further(&further, catalog, &self.components, reads, data_dir) {
            Ok(Ok(prepared)) => {
                let mut report = prepared.warnings.clone();
                report.merge(self.compare_locks(config, &prepared));
                if !report.is_refusal() {
                    state.prepared = Some(prepared);
                }
                report
            }
            Ok(Err(report)) => report,
            Err(problem) => {
                let mut report = Report::default();
                report.push(Diagnostic::error(config.place("enabled_consumers"), format!("{problem:#}")));
                report
            }
        }
    }

    fn apply(&self, config: &Config) -> Effects {
        let mut state = self.lock();
        let mut effects = Effects::default();
        self.reloader.trust(Trust::of(config));
        let wanted = |name: &str| config.consumers.iter().find(|consumer| consumer.name == name);
        let gone = state.running.iter().filter(|consumer| wanted(&consumer.name).is_none_or(is_native));
        let gone: Vec<Consumer> = gone.filter(|consumer| !is_native(consumer)).cloned().collect();
        for Consumer { name, .. } in &gone {
            self.reloader.remove(name);
            log_ended(&self.manager.remove(name, &self.observed.hub, DRAIN));
        }
        let known: Vec<String> = state.running.iter().map(|consumer| consumer.name.clone()).collect();
        if let Some(wiring::Consumers { specs, files, .. }) = state.prepared.take() {
            for spec in specs {
                let is_new = !known.contains(&spec.name);
                effects.failed.extend(self.start(spec, is_new, config));
            }
            files.into_iter().for_each(|file| self.reloader.add(file, &self.manager));
        }
        effects.pending = native_changes(&state.running, &config.consumers);
        let has_native = state.running.iter().any(is_native);
        let is_publisher = |consumer: &&Consumer| {
            has_native && matches!(consumer.component, Component::File(_)) && !known.contains(&consumer.name)
        };
        let publishers = config.consumers.iter().filter(is_publisher);
        effects.pending.extend(publishers.map(|consumer| format!("the values of {}", consumer.name)));
        let natives = state.running.iter().filter(|consumer| is_native(consumer)).cloned();
        let components = config.consumers.iter().filter(|consumer| !is_native(consumer)).cloned();
        state.running = natives.chain(components).collect();
        self.observed.consumers.set(config, self.manager.views());
        effects
    }
}

impl Consumers {
    /// Returns the consumers of a run that was started with `config`, and what manages them.
    #[must_use]
    pub fn new(
        config: &Config,
        observed: &Arc<Observed>,
        (manager, components, reloader, publishers): (&Arc<Manager>, &Arc<Components>, &Reloader, Option<Publishers>),
        groups: Option<Groups>,
    ) -> Self {
        let (manager, components, reloader) = (manager.clone(), components.clone(), reloader.clone());
        let state = Mutex::new(State { running: config.consumers.clone(), prepared: None });
        Self { manager, components, reloader, publishers, observed: observed.clone(), groups, state }
    }

    /// Refuses consumers of which the lock file says less than when they were started in this run.
    fn compare_locks(&self, config: &Config, prepared: &wiring::Consumers) -> Report {
        let (before, locks) = (self.reloader.locks(), Trust::of(config).read());
        let mut report = Report::default();
        for file in &prepared.files {
            let name = &file.candidate.name;
            if let Err(refusal) = locks.keeps(name, before.get(name).copied(), file.lock) {
                let (message, expected) = (refusal.to_string(), refusal.expected().to_owned());
                report.merge(config.component_report(name, Severity::Error, &message, &expected));
            }
        }
        report
    }

    /// Locks the state. A poisoned lock is safe: what was prepared is prepared again.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a consumer, in the place of the one that runs under its name if there is one. Returns why it does not run.
    fn start(&self, spec: Spec, is_new: bool, config: &Config) -> Option<String> {
        let (name, place) = (spec.name.clone(), (&*self.observed.hub, &self.observed.data_dir));
        let own = config.consumers.iter().find(|consumer| consumer.name == name);
        let patience = own.map_or(DRAIN, |consumer| 3 * consumer.limits.start_up);
        let started = if is_new {
            self.manager.add(spec, place, patience)
        } else {
            self.reloader.remove(&name);
            self.manager.replace(spec, place, DRAIN.max(patience)).map(|(ended, started)| {
                log_ended(&ended);
                started
            })
        };
        let problem = match started {
            // One that has not started in time goes on to try; its state shows that.
            Ok(started) => started.and_then(|started| started.result.err()).map(|failure| failure.to_string()),
            Err(problem) => Some(problem.to_string()),
        };
        if let Some(problem) = &problem {
            error!(consumer = name, problem, "the consumer does not run");
        }
        problem.map(|problem| format!("{name} ({problem})"))
    }
}

fn is_native(consumer: &Consumer) -> bool {
    matches!(consumer.component, Component::Native(_))
}

/// Returns the native consumers that differ.
fn native_changes(running: &[Consumer], wanted: &[Consumer]) -> Vec<String> {
    let differs = |consumer: &&Consumer, others: &[Consumer]| is_native(consumer) && !others.contains(consumer);
    let gone = running.iter().filter(|consumer| differs(consumer, wanted));
    let new = wanted.iter().filter(|consumer| differs(consumer, running));
    let mut names: Vec<String> = gone.chain(new).map(|consumer| format!("the consumer {}", consumer.name)).collect();
    names.sort();
    names.dedup();
    names
}

fn log_ended(ended: &[Summary]) {
    for Summary { name, stats } in ended {
        info!(consumer = name, delivered = stats.delivered, lost = stats.lost(), "consumer ended");
    }
}
