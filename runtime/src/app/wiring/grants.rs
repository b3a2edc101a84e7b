//! Converts the permissions of the configuration to grants, and reports problems with them before anything runs.

use klines_config::consumers::{Allow, Component as Source, Consumer, Shipped};
use klines_config::{Config, Report, Severity};
use klines_wasm::WasmBlueprint;
use klines_wasm::grants::{DirGrant, Grants};
use klines_wasm::http::{Egress, HttpGrant, SecretGrant};
use klines_wasm::manifest::Missing;

/// Converts the permissions in `allow` to grants.
#[must_use]
pub fn of(allow: &Allow) -> Grants {
    let dirs = allow.dirs.iter().map(|allowed| DirGrant {
        host: allowed.host.clone(),
        guest: allowed.guest.clone(),
        write: allowed.write,
        sensitive: allowed.sensitive,
        max: allowed.max,
    });
    let http = allow.http.iter().map(|allowed| HttpGrant {
        host: allowed.host.clone(),
        port: allowed.port,
        methods: allowed.methods.iter().map(|method| (*method).to_owned()).collect(),
        plain: allowed.plain,
        private: allowed.private,
        authorities: allowed.authorities.clone(),
    });
    let secrets = allow.secrets.iter().map(|allowed| SecretGrant {
        variable: allowed.variable.clone(),
        header: allowed.header.clone(),
        prefix: allowed.prefix.clone(),
        host: allowed.host.clone(),
        value: allowed.value.clone(),
    });
    let env = allow.env.iter().filter_map(|allowed| Some((allowed.name.clone(), allowed.value.clone()?)));
    Grants {
        stdout: allow.stdout,
        dirs: dirs.collect(),
        env: env.collect(),
        http: Egress::new(http.collect(), secrets.collect()),
        ..Grants::default()
    }
}

/// Reports permissions that a component requests but does not have, permissions that are allowed but not requested, and
/// dangerous grants.
pub fn report(config: &Config, consumer: &Consumer, blueprint: &WasmBlueprint) -> Report {
    let (name, mut report) = (consumer.name.as_str(), Report::default());
    for unused in blueprint.unused_grants() {
        let message = format!("{unused}, so it is not granted");
        let expected = "no more than the component asks for; `klines consumer inspect` lists that";
        report.merge(config.allow_report(name, Severity::Warning, &message, expected));
    }
    // Shipped components send requests only to the hosts in their settings.
    for grant in blueprint.grants().http.grants().filter(|_| blueprint.is_untrusted()) {
        if let Some(warning) = grant.warning() {
            let message = format!("it may send requests to `{}`: {warning}", grant.host);
            let expected = "no such host, unless that is meant";
            report.merge(config.allow_report(name, Severity::Warning, &message, expected));
        }
    }
    if let Some(grant) = target_of_webhook(consumer).and_then(|url| blueprint.grants().http.missing("POST", url)) {
        let message = format!("it posts to `{}`, which is not granted", grant.host);
        let expected = format!("`http = [{}]` in [consumers.{name}.allow]", grant.line());
        report.merge(config.allow_report(name, Severity::Error, &message, &expected));
        return report;
    }
    if blueprint.wants().manifest.is_some() {
        // Permissions that the operator may choose to grant are optional, so they are not reported as missing.
        let missing = blueprint.wants().missing(blueprint.grants());
        for Missing { key, what, entry, .. } in missing.into_iter().filter(|missing| !missing.is_choice) {
            let message = format!("it asks for {what}, which is not granted");
            let expected = format!("`{key} = [{entry}]` in [consumers.{name}.allow], if that is meant");
            report.merge(config.allow_report(name, Severity::Warning, &message, &expected));
        }
    }
    report
}

/// Returns the URL that the shipped webhook posts to. The webhook reports other errors of its settings itself.
fn target_of_webhook(consumer: &Consumer) -> Option<&str> {
    let is_webhook = consumer.component == Source::Shipped(Shipped::Webhook);
    consumer.settings.get("url").filter(|_| is_webhook)?.as_str()
}
