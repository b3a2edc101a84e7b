//! The common proxy variables, from the environment or the `.env` file.
//!
//! This module only reads them. The connecting code decides which connection uses which proxy.

use klines_domain::secret::{Secret, redact_url};

use super::loader::{Key, Loader, Section};
use super::value::{Fault, Scalar, Text};

/// The keys of each kind of proxy: the variable in upper case and in lower case.
const ALL: [Key; 2] = both("all", "ALL_PROXY", "all_proxy");
const HTTP: [Key; 2] = both("http", "HTTP_PROXY", "http_proxy");
const HTTPS: [Key; 2] = both("https", "HTTPS_PROXY", "https_proxy");
const NO: [Key; 2] = both("no", "NO_PROXY", "no_proxy");

const fn both(name: &'static str, upper: &'static str, lower: &'static str) -> [Key; 2] {
    [Key::new(name).variable(upper), Key::new(name).variable(lower)]
}

/// Proxies by the scheme of the target address; may hold passwords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// The proxy for every scheme that has no specific one.
    pub all: Option<ProxyAddress>,
    /// The proxy for `http` and `ws` addresses.
    pub http: Option<ProxyAddress>,
    /// The proxy for `https` and `wss` addresses.
    pub https: Option<ProxyAddress>,
    /// Hosts that are reached without a proxy, as a comma-separated list.
    pub no: Option<String>,
}

/// Address of a proxy; may hold a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress(pub Secret);

impl Proxy {
    pub(super) fn read(loader: &mut Loader<'_>) -> Self {
        Self {
            all: read(loader, ALL),
            http: read(loader, HTTP),
            https: read(loader, HTTPS),
            no: read(loader, NO).map(|no: Text| no.0),
        }
    }
}

/// Reads the first spelling that is set.
fn read<T: Scalar>(loader: &mut Loader<'_>, [upper, lower]: [Key; 2]) -> Option<T> {
    let written = lower.variable.filter(|variable| !loader.layers.texts(Some(variable), None).is_empty());
    let key = if written.is_some() { lower } else { upper };
    loader.read_optional(&mut Section::absent("proxy"), key).map(|found| found.value)
}

impl Scalar for ProxyAddress {
    const EXPECTED: &'static str = "an address such as http://proxy:3128";
    const SECRET: bool = true;

    fn parse(text: &str) -> Result<Self, Fault> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let has_host = url::Url::parse(&full).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        if !has_host {
            return Err(Fault::new(format!("`{}` is not an address", redact_url(text)), Self::EXPECTED));
        }
        Ok(Self(Secret::new(full)))
    }

    fn show(&self) -> String {
        redact_url(self.0.expose())
    }
}
