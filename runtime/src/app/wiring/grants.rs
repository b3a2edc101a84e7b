//! Converts the permissions of the configuration to grants, and reports problems with them before anything runs.

use std::path::Path;

use klines_config::consumers::{Allow, Component as Source, Consumer, Directory, HostSecret, Http, Shipped};
use klines_config::quantity::ByteSize;
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

/// Returns the permissions in `allow` as lines of the lock file in `folder`, sorted.
#[must_use]
pub fn lines(allow: &Allow, folder: &Path) -> Vec<String> {
    let text = |text: &str| toml::Value::from(text).to_string();
    let flag = |name: &str, is_set: bool| if is_set { format!(", {name} = true") } else { String::new() };
    let dirs = allow.dirs.iter().map(|Directory { host, guest, write, sensitive, max }| {
        let host = text(&written(host, folder));
        let max = if *write { format!(", max = {}", text(&ByteSize(*max).to_string())) } else { String::new() };
        let flags = [flag("write", *write), flag("sensitive", *sensitive), max].concat();
        format!("dirs = {{ host = {host}, guest = {}{flags} }}", text(guest))
    });
    let http = allow.http.iter().map(|Http { host, port, methods, plain, private, authorities }| {
        let methods: Vec<String> = methods.iter().map(|method| text(method)).collect();
        let authorities = authorities
            .as_ref()
            .map(|bytes| format!(", ca_file = {}", text(&klines_sharing::digest::Digest::of(bytes).to_string())));
        let flags = [flag("plain", *plain), flag("private", *private), authorities.unwrap_or_default()].concat();
        format!("http = {{ host = {}, port = {port}, methods = [{}]{flags} }}", text(host), methods.join(", "))
    });
    let secrets = allow.secrets.iter().map(|HostSecret { variable, header, prefix, host, .. }| {
        let [variable, header, prefix, host] = [variable, header, prefix, host].map(|value| text(value));
        format!("secrets = {{ variable = {variable}, header = {header}, prefix = {prefix}, host = {host} }}")
    });
    let env = allow.env.iter().map(|variable| format!("env = {}", text(&variable.name)));
    let mut lines: Vec<String> = dirs.chain(http).chain(secrets).chain(env).collect();
    lines.sort();
    lines
}

/// Returns a path as the files in `folder` write it: relative if it is below that.
#[must_use]
pub fn written(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder).unwrap_or(path).display().to_string()
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
