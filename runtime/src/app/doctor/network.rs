//! Checks of the network: the exchange's REST API and streams, the local clock by the exchange's, and Redis as a consumer and as
//! that of a cluster.

use klines_bybit::config::BybitConfig;
use klines_bybit::connect::{Dialer, redacted};
use klines_bybit::handshake;
use klines_bybit::rest::Gate;
use klines_config::Config;
use klines_config::cluster::Role;
use klines_config::consumers::Component;
use klines_config::native::Native;
use klines_domain::symbol::Category;
use klines_domain::time::{Millis, SECOND};
use klines_redis::Address;
use klines_system::clock::LocalClock;

use super::finding::Finding;
use crate::app::exchange;

const CLOCK: &str = "clock";
const REST: &str = "exchange REST";
const STREAM: &str = "exchange stream";
const REDIS: &str = "redis";
const CLUSTER: &str = "cluster";
/// What fixes most of what keeps the exchange from being reached.
const NETWORK: &str =
    "check the network, the firewall, the proxy variables, and ws_url, rest_url and testnet in [exchange]";
/// A clock that is off by more is worth a warning.
const OFF: Millis = SECOND;
/// A clock that is off by more breaks certificates and signed log-ins.
const FAR_OFF: Millis = 60 * SECOND;

/// Checks all hosts at the same time. A host that cannot be reached is a problem, but no check depends on another.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return vec![Finding::problem(REST, error.to_string(), "raise the limit on open files")],
    };
    let (wanted, dialer) = (exchange::wanted(config), exchange::dialer(config));
    let dialer = match dialer {
        Ok(dialer) => dialer,
        Err(error) => return vec![Finding::problem(REST, format!("{error:#}"), "correct SSL_CERT_FILE")],
    };
    runtime.block_on(async {
        let (rest, streams, redis, cluster) =
            tokio::join!(rest(&wanted, &dialer), streams(&wanted, &dialer), redis(config), cluster(config));
        rest.into_iter().chain(streams).chain(redis).chain(cluster).collect()
    })
}

/// Asks for the exchange's time; the middle of the request is when the exchange has read its clock.
async fn rest(wanted: &BybitConfig, dialer: &Dialer) -> Vec<Finding> {
    let clock = LocalClock::start();
    let client = match exchange::rest_client(wanted, dialer.clone(), Gate::new(clock)) {
        Ok(client) => client,
        Err(error) => return vec![Finding::problem(REST, format!("{error:#}"), "correct rest_url in [exchange]")],
    };
    let (url, sent) = (client.redacted_url(), clock.now());
    match client.time().await {
        Ok(reply) => {
            let took = reply.received - sent;
            let middle = sent + took / 2;
            let found = Finding::ok(REST, format!("{url} answers within {took} ms"));
            vec![found, skew(middle.get() - reply.result.get(), took)]
        }
        Err(error) => {
            let unknown = "unknown, because the exchange's REST API could not be reached";
            vec![
                Finding::problem(REST, format!("{url} could not be reached: {error}"), NETWORK),
                Finding::warning(CLOCK, unknown, "reach the REST API first"),
            ]
        }
    }
}

/// Judges how far the local clock is ahead of the exchange's, by a request that took `took`.
fn skew(ahead: Millis, took: Millis) -> Finding {
    let which = if ahead >= 0 { "ahead of" } else { "behind" };
    let found = format!("{} ms {which} the exchange's, to {} ms", ahead.abs(), took / 2 + 1);
    let fix = "synchronise the clock of this machine (timedatectl set-ntp true, chrony)";
    match ahead.abs() - took / 2 {
        off if off > FAR_OFF => Finding::problem(CLOCK, found, fix),
        off if off > OFF => Finding::warning(CLOCK, found, fix),
        _ => Finding::ok(CLOCK, found),
    }
}

/// Opens the stream of each category once.
async fn streams(wanted: &BybitConfig, dialer: &Dialer) -> Vec<Finding> {
    let mut findings = Vec::new();
    for category in &wanted.categories {
        findings.push(stream(wanted, category.category, dialer).await);
    }
    findings
}

async fn stream(wanted: &BybitConfig, category: Category, dialer: &Dialer) -> Finding {
    let Some(url) = wanted.stream_url(category) else {
        return Finding::problem(STREAM, "the address is invalid", "correct ws_url in [exchange]");
    };
    let (shown, clock) = (redacted(&url), LocalClock::start());
    let sent = clock.now();
    match handshake::open(dialer, &url).await {
        Ok(socket) => {
            drop(socket);
            Finding::ok(STREAM, format!("{shown} accepts connections within {} ms", clock.now() - sent))
        }
        Err(error) => Finding::problem(STREAM, format!("{shown} could not be reached: {error}"), NETWORK),
    }
}

/// Checks Redis, if it is a consumer.
async fn redis(config: &Config) -> Option<Finding> {
    let is_enabled =
        |consumer: &klines_config::consumers::Consumer| consumer.component == Component::Native(Native::Redis);
    let url = config.redis.url.as_ref().filter(|_| config.consumers.iter().any(is_enabled))?;
    let address = match Address::new(url.0.expose(), config.redis.authorities.clone()) {
        Ok(address) => address,
        Err(error) => return Some(Finding::problem(REDIS, error.to_string(), "correct REDIS_URL")),
    };
    let shown = address.shown();
    Some(match address.check().await {
        Ok(()) => Finding::ok(REDIS, format!("{shown} answers and accepts the credentials")),
        Err(trouble) => {
            let fix = "start Redis, or correct REDIS_URL; klines wait on disk meanwhile";
            Finding::problem(REDIS, format!("{shown}: {trouble}"), fix)
        }
    })
}

/// Checks the Redis of the cluster, if this process takes part in one.
async fn cluster(config: &Config) -> Option<Finding> {
    if config.cluster.role == Role::All {
        return None;
    }
    let server = match crate::app::cluster::server(&config.cluster) {
        Ok(server) => server,
        Err(error) => return Some(Finding::problem(CLUSTER, format!("{error:#}"), "correct redis_url in [cluster]")),
    };
    let shown = server.shown();
    let (info, has_functions) = match server.examine().await {
        Ok(found) => found,
        Err(error) => {
            let fix = "start Redis, or correct redis_url and sentinels in [cluster]";
            return Some(Finding::problem(CLUSTER, format!("{shown}: {error}"), fix));
        }
    };
    let functions = if has_functions { "has the functions" } else { "has no functions yet: the first node loads them" };
    Some(if let Some(policy) = info.eviction {
        let text =
            format!("{shown} removes keys when its memory is full ({policy}), and loses what nodes have agreed on");
        Finding::problem(CLUSTER, text, "set maxmemory-policy noeviction in Redis")
    } else if !info.is_appending && info.replicas == 0 {
        let text = format!("{shown} {functions}; it loses everything when it restarts");
        Finding::warning(CLUSTER, text, "set appendonly yes in Redis, or give it a replica")
    } else {
        Finding::ok(CLUSTER, format!("{shown} {functions}"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_is_certain() {
        for (ahead, took, state) in [
            (0, 10, State::Ok),
            (-1_000, 10, State::Ok),
            (1_400, 1_000, State::Ok),
            (1_600, 1_000, State::Warning),
            (-1_100, 10, State::Warning),
            (61_000, 10, State::Problem),
        ] {
            assert_eq!(skew(ahead, took).state, state, "{ahead} {took}");
        }
        assert_eq!(skew(-12, 8).text, "12 ms behind the exchange's, to 5 ms");
    }
}
