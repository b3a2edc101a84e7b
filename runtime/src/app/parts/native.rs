//! From configuration to the consumers that are part of the program itself.

use std::sync::Arc;

use crate::config::consumers::Consumer;
use crate::config::native::{Native, WebSocket};
use crate::config::{Config, Report};
use crate::consumer::catalog::Catalog;
use crate::consumer::encode::Extras;
use crate::consumer::queue::Grouping;
use crate::consumer::websocket::WebSocketBlueprint;
use crate::consumer::websocket::settings::Settings;
use crate::consumer::{Blueprint, Problem};
use crate::domain::interval::Interval;

/// Makes a native consumer and says how its klines are grouped into calls; nothing for one that this build lacks,
/// which the configuration has refused.
pub(super) fn blueprint(
    native: Native,
    consumer: &Consumer,
    config: &Config,
    catalog: &Arc<Catalog>,
) -> Option<(Box<dyn Blueprint>, Grouping)> {
    match native {
        Native::Redis => None,
        Native::WebSocket => {
            let WebSocket { logins, .. } = &config.websocket;
            let logins = logins.iter().map(|login| (login.user.clone(), login.key.clone())).collect();
            let blueprint = WebSocketBlueprint::new(websocket(consumer, config), logins, catalog.clone());
            Some((Box::new(blueprint), Grouping::Boundary))
        }
    }
}

/// Gives the problems that a native consumer found in its section their places.
pub(super) fn problems(native: Native, config: &Config, problems: &[Problem]) -> Report {
    let mut report = Report::default();
    for Problem { path, message, expected } in problems {
        report.merge(config.section_report(native.as_str(), path, message, expected));
    }
    report
}

fn websocket(consumer: &Consumer, config: &Config) -> Settings {
    let configured = &config.websocket;
    let made = config.klines.intervals.iter().copied();
    let narrowed = |interval: &Interval| consumer.intervals.is_empty() || consumer.intervals.contains(interval);
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        host: configured.host.clone(),
        port: configured.port,
        certificate: configured.certificate.clone(),
        auth: configured.auth,
        token_in_url: configured.token_in_url,
        origins: configured.origins.clone(),
        connections: count(configured.connections),
        connections_per_address: count(configured.connections_per_address),
        topics: count(configured.topics),
        commands: configured.commands,
        message: size(configured.message),
        queue: size(configured.queue),
        memory: size(configured.memory),
        extras: Extras { partial: configured.partial, revisions: configured.revisions },
        categories: config.exchange.categories.clone(),
        intervals: made.filter(narrowed).collect(),
        symbols: consumer.symbols.clone(),
    }
}
