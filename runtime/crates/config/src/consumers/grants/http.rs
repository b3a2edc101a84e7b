//! `allow.http`: hosts that a consumer may send requests to.

use std::path::PathBuf;

use super::host::{HostName, Method};
use crate::authorities;
use crate::items::{Item, absent, entries};
use crate::loader::{Key, Loader, Section, Sourced, UNSET};
use crate::place::Place;
use crate::report::Diagnostic;

const HTTP: &str = "http";
const EXAMPLE: &str = r#"[{ host = "hooks.example.com", methods = ["POST"] }]"#;
const HOST: Key = Key::new("host");
const PORT: Key = Key::new("port");
const METHODS: Key = Key::new("methods");
const PLAIN: Key = Key::new("plain");
const PRIVATE: Key = Key::new("private");
const CA_FILE: Key = Key::new("ca_file");

/// Requests that a consumer may send to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Exact name or address, in lower case.
    pub host: String,
    /// Port. Default: 443, or 80 with `plain`.
    pub port: u16,
    /// Allowed methods. Default: GET.
    pub methods: Vec<&'static str>,
    /// Whether the scheme is `http://` instead of `https://`. Default: no.
    pub plain: bool,
    /// Whether the host may be on this machine or in a private network. Default: no.
    pub private: bool,
    /// Certificates in PEM that are trusted in addition to the bundled ones.
    pub authorities: Option<Vec<u8>>,
}

/// Reads the list.
pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>) -> Vec<Http> {
    let path = section.path_of(HTTP);
    let (place, items) = entries(loader, section, HTTP, EXAMPLE).unwrap_or((Place::Default, Vec::new()));
    let mut grants: Vec<Http> = Vec::new();
    for item in &items {
        let Some(grant) = read_one(loader, item) else { continue };
        let same = |known: &&Http| (&known.host, known.port, known.plain) == (&grant.host, grant.port, grant.plain);
        if grants.iter().find(same).is_some() {
            let place = loader.layers.toml_place(item.span.clone());
            let message = format!("`{}` at port {} is granted twice", grant.host, grant.port);
            loader.report.push(Diagnostic::error(place, message).expected("one entry with all its methods"));
        }
        grants.push(grant);
    }
    loader.note(path, show(&grants), &place, None);
    grants
}

fn read_one(loader: &mut Loader<'_>, item: &Item<'_>) -> Option<Http> {
    let (host, port, methods, plain, private, ca_file) = item.read(loader, |loader, section| {
        let host = loader.read_optional::<HostName>(section, HOST);
        let port = loader.read_optional::<u16>(section, PORT);
        let methods = loader.read(section, METHODS, vec![Method("GET")]);
        let plain = loader.read(section, PLAIN, false).value;
        let private = loader.read(section, PRIVATE, false).value;
        (host, port, methods, plain, private, loader.read_optional::<PathBuf>(section, CA_FILE))
    })?;
    absent(loader, item, HOST, host.is_none(), r#"host = "hooks.example.com""#);
    let methods = loader.unique(methods, |method| method.0.to_owned());
    loader.not_empty(&methods, "method");
    if let Some(zero) = port.as_ref().filter(|port| port.value == 0) {
        loader.report.push(zero.error("no host can be reached at port 0").expected("1 to 65535"));
    }
    let authorities = ca_file.and_then(|file| authorities(loader, &file, plain));
    let host = host?;
    if host.value.is_private() && !private {
        let message = format!("`{}` is this machine, or in a private network", host.value.0);
        loader.report.push(host.error(message).expected("`private = true` in this entry, if that is intended"));
    }
    let usual = if plain { 80 } else { 443 };
    Some(Http {
        host: host.value.0,
        port: port.map_or(usual, |port| port.value),
        methods: methods.value.into_iter().map(|method| method.0).collect(),
        plain,
        private,
        authorities,
    })
}

fn authorities(loader: &mut Loader<'_>, file: &Sourced<PathBuf>, plain: bool) -> Option<Vec<u8>> {
    if plain {
        let diagnostic = file.error("`ca_file` is for encrypted connections");
        loader.report.push(diagnostic.expected("no `plain = true`, or no ca_file"));
        return None;
    }
    authorities::read(loader, file)
}

fn show(grants: &[Http]) -> String {
    if grants.is_empty() {
        return UNSET.to_owned();
    }
    let show = |grant: &Http| {
        let scheme = if grant.plain { "http" } else { "https" };
        let host = if grant.host.contains(':') { format!("[{}]", grant.host) } else { grant.host.clone() };
        let private = if grant.private { ", private" } else { "" };
        format!("{scheme}://{host}:{} ({}{private})", grant.port, grant.methods.join(" "))
    };
    grants.iter().map(show).collect::<Vec<_>>().join(", ")
}
