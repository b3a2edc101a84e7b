//! `allow.secrets`: variables whose value the host puts into a header of requests to one host.

use klines_domain::secret::Secret;

use super::env::VariableName;
use super::host::HostName;
use super::http::Http;
use crate::items::{Item, absent, entries};
use crate::loader::{Key, Loader, Section, UNSET};
use crate::place::Place;
use crate::report::Diagnostic;
use crate::value::{Fault, Scalar, Text};

const SECRETS: &str = "secrets";
const EXAMPLE: &str =
    r#"[{ variable = "HOOK_TOKEN", header = "authorization", prefix = "Bearer ", host = "hooks.example.com" }]"#;
const VARIABLE: Key = Key::new("variable");
const HEADER: Key = Key::new("header");
const PREFIX: Key = Key::new("prefix");
const HOST: Key = Key::new("host");

/// Prefixes of the variables that hold secrets of klines itself; no component gets them.
const OWN_PREFIXES: [&str; 2] = ["WSS_", "REDIS_"];
/// Headers that belong to the connection or the message.
const RESERVED: [&str; 11] = [
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "content-type",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "forwarded",
];

/// A secret that is put into requests.
#[derive(Clone, Debug)]
pub struct HostSecret {
    /// The variable that holds it.
    pub variable: String,
    /// The header that it goes into, in lower case.
    pub header: String,
    /// The text before the secret in the header. Default: empty.
    pub prefix: String,
    /// The host that gets it, one of `allow.http`.
    pub host: String,
    /// The secret.
    pub value: Secret,
}

impl PartialEq for HostSecret {
    /// Compares everything but the value: the same variable has the same value.
    fn eq(&self, other: &Self) -> bool {
        let parts = |secret: &Self| [&secret.variable, &secret.header, &secret.prefix, &secret.host].map(Clone::clone);
        parts(self) == parts(other)
    }
}

impl Eq for HostSecret {}

/// The name of a header that may hold a secret.
struct HeaderName(String);

impl Scalar for HeaderName {
    const EXPECTED: &'static str = "a header such as authorization or x-api-key";

    fn parse(text: &str) -> Result<Self, Fault> {
        let name = text.to_ascii_lowercase();
        let is_letter = |found: char| found.is_ascii_alphanumeric() || matches!(found, '-' | '_');
        if name.is_empty() || !name.chars().all(is_letter) {
            return Err(Fault::new(format!("`{text}` is not the name of a header"), Self::EXPECTED));
        }
        if RESERVED.contains(&name.as_str()) || name.starts_with("proxy-") {
            return Err(Fault::new(format!("the header `{text}` is not for secrets"), Self::EXPECTED));
        }
        Ok(Self(name))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// Reads the list and the variables.
pub(super) fn read(loader: &mut Loader<'_>, section: &mut Section<'_>, http: &[Http]) -> Vec<HostSecret> {
    let path = section.path_of(SECRETS);
    let (place, items) = entries(loader, section, SECRETS, EXAMPLE).unwrap_or((Place::Default, Vec::new()));
    let mut secrets: Vec<HostSecret> = Vec::new();
    for item in &items {
        let Some(secret) = read_one(loader, item, http) else { continue };
        if secrets.iter().any(|known| (&known.host, &known.header) == (&secret.host, &secret.header)) {
            let place = loader.layers.toml_place(item.span.clone());
            let message = format!("`{}` has a secret in the header `{}` already", secret.host, secret.header);
            loader.report.push(Diagnostic::error(place, message).expected("one secret for each header of a host"));
        }
        secrets.push(secret);
    }
    loader.note(path, show(&secrets), &place, None);
    secrets
}

fn read_one(loader: &mut Loader<'_>, item: &Item<'_>, http: &[Http]) -> Option<HostSecret> {
    let (variable, header, prefix, host) = item.read(loader, |loader, section| {
        (
            loader.read_optional::<VariableName>(section, VARIABLE),
            loader.read_optional::<HeaderName>(section, HEADER),
            loader.read_optional::<Text>(section, PREFIX),
            loader.read_optional::<HostName>(section, HOST),
        )
    })?;
    absent(loader, item, VARIABLE, variable.is_none(), r#"variable = "HOOK_TOKEN", which holds the secret"#);
    absent(loader, item, HEADER, header.is_none(), r#"header = "authorization", which it goes into"#);
    absent(loader, item, HOST, host.is_none(), r#"host = "hooks.example.com", which gets it"#);
    let (variable, host) = (variable?, host?);
    let name = variable.value.0.as_str();
    loader.named.push(name.to_owned());
    if OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        let diagnostic = variable.error(format!("`{name}` is a secret of klines itself"));
        loader.report.push(diagnostic.expected("a variable that only this consumer uses"));
        return None;
    }
    let mut of_host = http.iter().filter(|grant| grant.host == host.value.0).peekable();
    if of_host.peek().is_none() {
        let diagnostic = host.error(format!("no requests to `{}` are granted", host.value.0));
        loader.report.push(diagnostic.expected("a host of `allow.http`"));
    } else if of_host.any(|grant| grant.plain) && !host.value.is_loopback() {
        let diagnostic = host.error(format!("the secret would go to `{}` without encryption", host.value.0));
        loader.report.push(diagnostic.expected("no `plain = true` for this host: it is allowed for this machine only"));
    }
    let Some(written) = loader.layers.texts(Some(name), None).into_iter().next() else {
        let diagnostic = variable.error(format!("`{name}` is not set"));
        let expected = format!("the secret in this variable, in {}", loader.layers.variables_in);
        loader.report.push(diagnostic.expected(expected));
        return None;
    };
    let value = written.text.trim();
    let prefix = prefix.map(|prefix| prefix.value.0).unwrap_or_default();
    if !value.chars().chain(prefix.chars()).all(|found| (' '..='~').contains(&found)) {
        let diagnostic = variable.error(format!("`{name}` has characters that a header cannot hold"));
        loader.report.push(diagnostic.expected("printable ASCII").hidden(true));
        return None;
    }
    let value = Secret::new(value.to_owned());
    Some(HostSecret { variable: name.to_owned(), header: header?.value.0, prefix, host: host.value.0, value })
}

fn show(secrets: &[HostSecret]) -> String {
    if secrets.is_empty() {
        return UNSET.to_owned();
    }
    let show = |secret: &HostSecret| format!("{} to {} in {}", secret.variable, secret.host, secret.header);
    secrets.iter().map(show).collect::<Vec<_>>().join(", ")
}
