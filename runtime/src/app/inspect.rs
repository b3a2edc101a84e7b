//! `klines consumer inspect`: shows a component, the permissions that it requests and has, and how to grant the missing
//! ones.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use klines_authoring::tools::cache_of_process;
use klines_config::consumers::{Component as Source, Consumer};
use klines_domain::sanitize::sanitize;
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::{self, ComponentFile, Links};
use klines_wasm::grants::Grants;
use klines_wasm::manifest::{Missing, Wants};
use serde_json::{Value, json};

use super::output;
use super::refusal::Refused;
use super::wiring::{compiling, grants};
use crate::cli::InspectArgs;

/// Descriptions of imports, by prefix of their names. The first prefix that matches applies.
const MEANINGS: [(&str, &str); 14] = [
    ("klines:consumer/host", "log lines, exact digits, the terminal if it is granted"),
    ("klines:consumer/types", "the data types of klines"),
    ("klines:consumer/state", "state that outlives its instances"),
    ("klines:consumer/emit", "values that it publishes for clients"),
    ("klines:consumer/history", "stored klines of what it receives"),
    ("klines:consumer/", "another service of the runtime"),
    ("wasi:http/", "HTTP requests, to hosts of allow.http"),
    ("wasi:filesystem/", "files, in folders of allow.dirs"),
    ("wasi:cli/environment", "variables of allow.env"),
    ("wasi:cli/", "standard streams, which go to the log, and exit"),
    ("wasi:clocks/", "clocks"),
    ("wasi:random/", "random numbers"),
    ("wasi:sockets/", "sockets, which are never granted"),
    ("wasi:io/", "waiting and streams"),
];

/// A loaded component with its requested, granted and missing permissions.
pub(super) struct Inspected {
    /// Name of the consumer, or of the file.
    name: String,
    /// Name and version of the interface that it exports.
    contract: String,
    file: ComponentFile,
    wants: Wants,
    granted: Grants,
    unused: Vec<String>,
    missing: Vec<Missing>,
}

/// Inspects one component.
///
/// # Errors
/// When the component does not exist, or cannot be loaded.
pub fn inspect(args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let (name, bytes, allowed) = target(args)?;
    // The component may come from anywhere, so it is compiled like any untrusted one.
    let components = compiling::for_an_author(cache_of_process().as_deref())?;
    let file = ComponentFile::new(Path::new(&args.target), bytes);
    let component = components.from_untrusted(&file, &Limits::default());
    let component = component.with_context(|| args.target.clone())?;
    let inspected = Inspected::new(name, file, &component, &allowed);
    output::print(&if args.json { format!("{:#}\n", inspected.json()) } else { inspected.text() })?;
    Ok(ExitCode::SUCCESS)
}

type Target = (String, Vec<u8>, Grants);

/// Finds the component: a file if one exists, otherwise a consumer of the configuration.
fn target(args: &InspectArgs) -> anyhow::Result<Target> {
    let path = Path::new(&args.target);
    if path.components().count() > 1 || path.extension().is_some() || path.is_file() {
        // If the configuration uses this file, the grants of that consumer apply.
        let (config, _) = klines_config::examine_files(args.sources(None)).map_err(Refused)?;
        let uses_path = |consumer: &&Consumer| {
            let Source::File(file) = &consumer.component else { return false };
            file.canonicalize().is_ok_and(|file| path.canonicalize().is_ok_and(|path| file == path))
        };
        let consumer = config.consumers.iter().find(uses_path);
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("NAME");
        let name = consumer.map_or(stem, |consumer| consumer.name.as_str()).to_owned();
        let allowed = consumer.map(|consumer| grants::of(&consumer.allow)).unwrap_or_default();
        return Ok((name, read(path, Limits::default().component_size)?, allowed));
    }
    let (config, report) = klines_config::examine(args.sources(Some(&args.target)));
    let Some(consumer) = config.consumers.first() else { return Err(Refused(report).into()) };
    let bytes = match &consumer.component {
        Source::Shipped(name) => klines_wasm::shipped::shipped(name.as_str()).unwrap_or_default().to_vec(),
        Source::File(path) => read(path, consumer.limits.component_size)?,
        Source::Native(native) => {
            bail!("`{}` is part of klines and has no component; its settings are in [{0}]", native.as_str())
        }
    };
    if report.is_refusal() {
        return Err(Refused(report).into());
    }
    Ok((consumer.name.clone(), bytes, grants::of(&consumer.allow)))
}

fn read(path: &Path, most: u64) -> anyhow::Result<Vec<u8>> {
    let file = component_loader::read(path, most, Links::Follow).with_context(|| path.display().to_string())?;
    Ok(file.bytes)
}

impl Inspected {
    /// Compares the permissions that a component requests with `allowed`, those that the operator grants.
    pub(super) fn new(name: String, file: ComponentFile, component: &Component, allowed: &Grants) -> Self {
        let wants = component.wants().clone();
        let (granted, unused) = wants.narrow(allowed);
        let missing = wants.missing(&granted);
        Self { name, contract: component.contract(), file, wants, granted, unused, missing }
    }

    /// Returns the result as text for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a `String` cannot fail.
            let _ = writeln!(text, "{name:<12}{value}");
        };
        line("component", &self.name);
        if let Some(manifest) = &self.wants.manifest {
            line("manifest", &sanitized(&format!("{} {}: {}", manifest.name, manifest.version, manifest.description)));
        } else {
            line("manifest", "none; its imports show what it requests");
        }
        line("contract", &self.contract);
        line("size", &format!("{} bytes", self.file.bytes.len()));
        line("sha256", &self.file.sha256);
        text.push_str("\nimports\n");
        for (import, meaning) in self.imports() {
            let _ = writeln!(text, "  {import:<44}  {meaning}");
        }
        let granted = self.granted();
        if granted.is_empty() && self.missing.is_empty() && self.unused.is_empty() {
            text.push_str("\nIt requests no permission that must be granted.\n");
            return text;
        }
        text.push_str("\nwants\n");
        for what in &granted {
            let _ = writeln!(text, "  granted  {}", sanitized(what));
        }
        for missing in &self.missing {
            let _ = writeln!(text, "  missing  {}", sanitized(&missing.what));
        }
        for unused in &self.unused {
            let _ = writeln!(text, "  unused   {}", sanitized(unused));
        }
        if !self.missing.is_empty() {
            let _ = write!(text, "\nTo grant what is missing, in klines.toml:\n\n{}", self.lines());
        }
        text
    }

    /// Returns the lines of the configuration that grant the missing permissions, in addition to the granted ones.
    fn lines(&self) -> String {
        let mut lines = format!("[consumers.{}.allow]\n", self.name);
        for key in ["http", "dirs", "env", "secrets"] {
            let entries: Vec<String> = self
                .missing
                .iter()
                .filter(|missing| missing.key == key)
                .map(|missing| sanitized(&missing.entry))
                .collect();
            if !entries.is_empty() {
                let _ = writeln!(lines, "{key} = [{}]", entries.join(", "));
            }
        }
        lines
    }

    fn imports(&self) -> Vec<(String, &'static str)> {
        let meaning = |name: &str| {
            let known = MEANINGS.iter().find(|(beginning, _)| name.starts_with(beginning));
            known.map_or("unknown", |(_, meaning)| *meaning)
        };
        self.wants.imports.iter().map(|name| (sanitized(name), meaning(name))).collect()
    }

    /// Describes the permissions that it requests and has.
    fn granted(&self) -> Vec<String> {
        let Grants { stdout, dirs, env, http, .. } = &self.granted;
        let mut granted: Vec<String> = http.grants().map(|grant| format!("http     {}", grant.line())).collect();
        granted.extend(
            http.secrets()
                .map(|secret| format!("secrets  {} in `{}` to {}", secret.variable, secret.header, secret.host)),
        );
        granted.extend(dirs.iter().map(|dir| {
            let right = if dir.write { "write" } else { "read" };
            format!("dirs     {} as {} ({right})", dir.host.display(), dir.guest)
        }));
        granted.extend(env.iter().map(|(name, _)| format!("env      {name}")));
        granted.extend(stdout.then(|| "stdout   standard output".to_owned()));
        granted
    }

    /// Returns the result as JSON for programs.
    pub(super) fn json(&self) -> Value {
        let missing = |missing: &Missing| json!({ "key": missing.key, "what": missing.what, "entry": missing.entry });
        let manifest = self.wants.manifest.as_ref().map(|manifest| {
            json!({ "name": manifest.name, "version": manifest.version, "description": manifest.description })
        });
        json!({
            "component": self.name,
            "manifest": manifest,
            "contract": self.contract,
            "size": self.file.bytes.len(),
            "sha256": self.file.sha256,
            "imports": self.imports().into_iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "granted": self.granted(),
            "missing": self.missing.iter().map(missing).collect::<Vec<_>>(),
            "unused": self.unused,
            "toml": Some(self.lines()).filter(|_| !self.missing.is_empty()),
        })
    }
}

/// Removes characters that control a terminal from a component's text.
pub(super) fn sanitized(text: &str) -> String {
    sanitize(text, usize::MAX)
}
