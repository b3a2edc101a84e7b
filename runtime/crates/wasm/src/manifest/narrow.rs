//! Compares requested with allowed permissions: returns the grants that are both, the unused ones and the missing ones.

use super::{ANY_HOST, DIRS, ENV, HTTP, Manifest, Wants};
use crate::grants::{DirGrant, Grants};
use crate::http::{HttpGrant, SecretGrant, quoted};

/// A permission that a component requests and does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The key of `[consumers.NAME.allow]` that would grant it: `http`, `dirs`, `env` or `secrets`.
    pub key: &'static str,
    /// A description for the operator.
    pub what: String,
    /// The entry for the list of the key. The operator replaces words in capitals.
    pub entry: String,
    /// Whether the component may work without it: a secret for any host is the choice of the operator.
    pub is_choice: bool,
}

impl Wants {
    /// Returns the part of `allowed` that the component requests, and a sentence about each permission that it does not
    /// request.
    #[must_use]
    pub fn narrow(&self, allowed: &Grants) -> (Grants, Vec<String>) {
        let mut unused = Vec::new();
        let mut http = Vec::new();
        for grant in allowed.http.grants() {
            match self.http(grant) {
                Some(narrowed) => {
                    for method in grant.methods.iter().filter(|method| !narrowed.methods.contains(method)) {
                        unused.push(format!("it does not ask for {method} to {}", grant.host));
                    }
                    http.push(narrowed);
                }
                None if !self.imports_http() => unused.push(lacks(HTTP, &format!("requests to {} need", grant.host))),
                None => unused.push(format!("it does not ask for requests to {}", grant.host)),
            }
        }
        let mut secrets = Vec::new();
        for secret in allowed.http.secrets() {
            if self.has_secret(secret) && http.iter().any(|grant| grant.host == secret.host) {
                secrets.push(secret.clone());
            } else if !self.imports_http() {
                unused.push(lacks(HTTP, &format!("a secret in `{}` for {} needs", secret.header, secret.host)));
            } else {
                unused.push(format!("it does not ask for a secret in `{}` for {}", secret.header, secret.host));
            }
        }
        let mut dirs = Vec::new();
        for grant in &allowed.dirs {
            match self.dir(grant) {
                Some(narrowed) => {
                    if narrowed.write != grant.write {
                        unused.push(format!("it does not ask for writing to {}", grant.guest));
                    }
                    dirs.push(narrowed);
                }
                None if !self.imports_dirs() => unused.push(lacks(DIRS, &format!("the folder {} needs", grant.guest))),
                None => unused.push(format!("it does not ask for a folder {}", grant.guest)),
            }
        }
        let mut env = Vec::new();
        for (name, value) in &allowed.env {
            if self.has_env(name) {
                env.push((name.clone(), value.clone()));
            } else if !self.imports_env() {
                unused.push(lacks(ENV, &format!("the variable {name} needs")));
            } else {
                unused.push(format!("it does not ask for the variable {name}"));
            }
        }
        let http = allowed.http.replaced(http, secrets, self);
        (Grants { stdout: allowed.stdout, dirs, env, http, protected: allowed.protected.clone() }, unused)
    }

    /// Returns the permissions that are requested and not granted. Without a manifest, only HTTP can be missing: if the
    /// component imports it and no host is granted.
    #[must_use]
    pub fn missing(&self, granted: &Grants) -> Vec<Missing> {
        let Some(manifest) = &self.manifest else {
            let is_missing = self.imports_http() && granted.http.grants().next().is_none();
            let entry = r#"{ host = "HOST", methods = ["GET"] }"#.to_owned();
            let missing = Missing { key: "http", what: "requests to any host".to_owned(), entry, is_choice: false };
            return is_missing.then_some(missing).into_iter().collect();
        };
        let mut missing = manifest.missing_http(granted);
        for want in &manifest.secrets {
            let has = |secret: &SecretGrant| {
                secret.header.eq_ignore_ascii_case(&want.header) && is_host(&want.host, &secret.host)
            };
            if !granted.http.secrets().any(has) {
                let (header, host) = (quoted(&want.header), host_value(&want.host));
                missing.push(Missing {
                    key: "secrets",
                    what: format!("a secret in the header {header} for {}", host_text(&want.host)),
                    entry: format!("{{ variable = \"VARIABLE\", header = {header}, host = {host} }}"),
                    is_choice: want.host == ANY_HOST,
                });
            }
        }
        for want in &manifest.dirs {
            let enough = |grant: &DirGrant| grant.guest == want.guest && (grant.write || !want.write);
            if !granted.dirs.iter().any(enough) {
                let (guest, right) = (quoted(&want.guest), if want.write { "written" } else { "read" });
                let write = if want.write { ", write = true" } else { "" };
                missing.push(Missing {
                    key: "dirs",
                    what: format!("a folder {guest}, {right}"),
                    entry: format!("{{ host = \"./FOLDER\", guest = {guest}{write} }}"),
                    is_choice: false,
                });
            }
        }
        for name in manifest.env.iter().filter(|name| !granted.env.iter().any(|(granted, _)| granted == *name)) {
            missing.push(Missing {
                key: "env",
                what: format!("the variable {}", quoted(name)),
                entry: quoted(name),
                is_choice: false,
            });
        }
        missing
    }

    /// Returns whether the component requests everything that a grant names.
    pub(crate) fn admits(&self, grant: &HttpGrant) -> bool {
        self.http(grant).is_some_and(|narrowed| narrowed.methods.len() == grant.methods.len())
    }

    fn http(&self, grant: &HttpGrant) -> Option<HttpGrant> {
        if !self.imports_http() {
            return None;
        }
        let Some(manifest) = &self.manifest else { return Some(grant.clone()) };
        let wanted = |method: &String| {
            let mut of_host = manifest.http.iter().filter(|want| is_host(&want.host, &grant.host));
            of_host.any(|want| want.methods.iter().any(|wanted| wanted.eq_ignore_ascii_case(method)))
        };
        let methods: Vec<String> = grant.methods.iter().filter(|method| wanted(method)).cloned().collect();
        (!methods.is_empty()).then(|| HttpGrant { methods, ..grant.clone() })
    }

    fn has_secret(&self, secret: &SecretGrant) -> bool {
        self.manifest.as_ref().is_none_or(|manifest| {
            let mut of_host = manifest.secrets.iter().filter(|want| is_host(&want.host, &secret.host));
            of_host.any(|want| want.header.eq_ignore_ascii_case(&secret.header))
        })
    }

    fn dir(&self, grant: &DirGrant) -> Option<DirGrant> {
        if !self.imports_dirs() {
            return None;
        }
        let Some(manifest) = &self.manifest else { return Some(grant.clone()) };
        let want = manifest.dirs.iter().find(|want| want.guest == grant.guest)?;
        Some(DirGrant { write: grant.write && want.write, ..grant.clone() })
    }

    fn has_env(&self, name: &str) -> bool {
        let asks = |manifest: &Manifest| manifest.env.iter().any(|want| want == name);
        self.imports_env() && self.manifest.as_ref().is_none_or(asks)
    }
}

impl Manifest {
    fn missing_http(&self, granted: &Grants) -> Vec<Missing> {
        let mut missing = Vec::new();
        for want in &self.http {
            let granted: Vec<&HttpGrant> =
                granted.http.grants().filter(|grant| is_host(&want.host, &grant.host)).collect();
            let has = |method: &&String| {
                granted.iter().any(|grant| grant.methods.iter().any(|has| has.eq_ignore_ascii_case(method)))
            };
            let methods: Vec<&String> = want.methods.iter().filter(|method| !has(method)).collect();
            if methods.is_empty() {
                continue;
            }
            let listed =
                methods.iter().map(|method| quoted(&method.to_ascii_uppercase())).collect::<Vec<_>>().join(", ");
            missing.push(Missing {
                key: "http",
                what: format!("{} to {}", listed.replace('"', ""), host_text(&want.host)),
                entry: format!("{{ host = {}, methods = [{listed}] }}", host_value(&want.host)),
                is_choice: false,
            });
        }
        missing
    }
}

/// Returns the sentence about a permission that the component cannot use because it lacks an import.
fn lacks(import: &str, needs: &str) -> String {
    format!("it does not import {import}, which {needs}")
}

fn is_host(wanted: &str, granted: &str) -> bool {
    wanted == ANY_HOST || wanted.eq_ignore_ascii_case(granted)
}

fn host_value(host: &str) -> String {
    if host == ANY_HOST { "\"HOST\"".to_owned() } else { quoted(host) }
}

fn host_text(host: &str) -> String {
    if host == ANY_HOST { "a host of your choice".to_owned() } else { quoted(host) }
}
