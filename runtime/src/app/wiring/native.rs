//! Creates the native consumers, which are part of the program, from the configuration.

use std::sync::Arc;

use anyhow::Context;
use klines_config::consumers::Consumer;
use klines_config::native::redis::LastValue;
use klines_config::native::{Native, WebSocket};
use klines_config::{Config, Diagnostic, Report};
use klines_delivery::catalog::Catalog;
use klines_delivery::data_dir::DataDir;
use klines_delivery::encode::Extras;
use klines_delivery::queue::Grouping;
use klines_delivery::{Blueprint, Problem};
use klines_redis::{Address, RedisBlueprint, SpillSettings, Stream};
use klines_websocket::WebSocketBlueprint;
use klines_websocket::settings::Settings;
use klines_websocket::tls::Exposed;

use super::sandboxed::Shared;
use crate::app::recording;

/// Published values, of all consumers together, may take 1 / `VALUES_DIVISOR` of the server's memory limit.
const VALUES_DIVISOR: usize = 4;

/// A native consumer, and how its klines are grouped into calls.
type NativeBlueprint = (Box<dyn Blueprint>, Grouping);

/// Returns the blueprint of a native consumer; `None` if its configuration is incomplete, which was reported before.
///
/// # Errors
/// When the consumer refuses a value that the configuration accepted.
pub(super) fn blueprint(
    native: Native,
    consumer: &Consumer,
    config: &Config,
    catalog: &Arc<Catalog>,
    shared: Shared<'_>,
) -> anyhow::Result<Option<NativeBlueprint>> {
    match native {
        Native::Redis => {
            let settings = redis(config, shared.data_dir).context("preparing the redis consumer")?;
            Ok(settings.map(|settings| {
                let blueprint: Box<dyn Blueprint> = Box::new(RedisBlueprint::new(settings));
                (blueprint, Grouping::Boundary)
            }))
        }
        Native::WebSocket => {
            let WebSocket { logins, .. } = &config.websocket;
            let logins = logins.iter().map(|login| (login.user.clone(), login.key.clone())).collect();
            let blueprint = WebSocketBlueprint::new(websocket(consumer, config), logins, catalog.clone());
            let blueprint = blueprint.with_history(recording::history(config)).with_earlier(shared.earlier.clone());
            let blueprint = blueprint.with_epochs(shared.epochs.cloned());
            Ok(Some((Box::new(blueprint), Grouping::Boundary)))
        }
    }
}

/// Reports the problems that a native consumer found in its section, with their places.
pub(super) fn problems(native: Native, config: &Config, problems: &[Problem]) -> Report {
    let mut report = Report::default();
    for Problem { path, message, expected } in problems {
        report.merge(config.section_report(native.as_str(), path, message, expected));
    }
    report
}

/// Reports problems of a native consumer that do not keep it from running.
pub(super) fn warnings(native: Native, config: &Config) -> Report {
    let mut report = Report::default();
    if let (Native::WebSocket, Some((_, key))) = (native, &config.websocket.certificate)
        && let Some(exposed) = Exposed::check(key)
    {
        let place = config.place("websocket.certificate_key");
        report.push(Diagnostic::warning(place, exposed.to_string()));
    }
    report
}

fn websocket(consumer: &Consumer, config: &Config) -> Settings {
    let publishers = super::publishers(config);
    let configured = &config.websocket;
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Settings {
        host: configured.host.clone(),
        port: configured.port,
        advertised: configured.url.as_ref().map(ToString::to_string),
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
        values: size(configured.memory) / VALUES_DIVISOR / publishers.len().max(1),
        publishers,
        extras: Extras { partial: configured.partial, revisions: configured.revisions },
        categories: config.exchange.categories.clone(),
        intervals: consumer.intervals.clone(),
        symbols: consumer.symbols.clone(),
    }
}

fn redis(config: &Config, data_dir: &DataDir) -> anyhow::Result<Option<klines_redis::Settings>> {
    let redis = &config.redis;
    let name = Native::Redis.as_str();
    let Some(url) = &redis.url else { return Ok(None) };
    let stream = redis.stream.clone().map(|name| Stream { name, max_len: redis.stream_max_len });
    Ok(Some(klines_redis::Settings {
        name: name.to_owned(),
        address: Address::new(url.0.expose(), redis.authorities.clone())?,
        channel: redis.channel.clone(),
        first: config.exchange.categories.first().copied().unwrap_or_default(),
        publish: redis.publish,
        extras: Extras { partial: redis.partial, revisions: redis.revisions },
        stream,
        last_value: match redis.last_value {
            LastValue::Off => None,
            LastValue::Closed => Some(klines_redis::LastValue::Closed),
            LastValue::All => Some(klines_redis::LastValue::Open),
        },
        values: redis.publish && !super::publishers(config).is_empty(),
        spill: (redis.spill > 0).then(|| SpillSettings {
            folder: data_dir.path().join("spill").join(name),
            most_bytes: redis.spill,
            data_dir: data_dir.clone(),
        }),
    }))
}
