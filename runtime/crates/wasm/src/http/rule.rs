//! HTTP grants of an operator, and the requests that they cover. Compares names and ports; `address` classifies
//! addresses.

use std::net::{IpAddr, Ipv6Addr};

use hyper::http::uri::{Scheme, Uri};
use klines_domain::secret::Secret;
use wasmtime_wasi_http::Error;

/// The requests that a consumer may send to one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    /// The exact name or address, in lower case; IPv6 addresses without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The methods, in upper case.
    pub methods: Vec<String>,
    /// Whether the grant is for `http://` instead of `https://`.
    pub plain: bool,
    /// Whether the host may be on this machine or in a private network.
    pub private: bool,
    /// Certificates in PEM that are trusted in addition to the built-in ones.
    pub authorities: Option<Vec<u8>>,
}

/// A secret that the host puts into requests; the component never sees it.
#[derive(Clone, Debug)]
pub struct SecretGrant {
    /// The environment variable from which it was read.
    pub variable: String,
    /// The header that holds it, in lower case.
    pub header: String,
    /// The text before it in the header.
    pub prefix: String,
    /// The host that receives it, written as in [`HttpGrant`].
    pub host: String,
    /// The secret.
    pub value: Secret,
}

/// The destination of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    pub(super) plain: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Destination {
    /// Parses the URL of a request. Each host has only one accepted form: a host in another form never equals a
    /// grant.
    pub(super) fn of(uri: &Uri) -> Result<Self, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        let plain = uri.scheme() == Some(&Scheme::HTTP);
        let host = authority.host();
        // Also refuses a login before the host.
        let rest = authority.as_str().strip_prefix(host).ok_or(Error::HttpRequestUriInvalid)?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => usual_port(plain),
            Some(port) => port.parse().map_err(|_| Error::HttpRequestUriInvalid)?,
            None => return Err(Error::HttpRequestUriInvalid),
        };
        let host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => inner.parse::<Ipv6Addr>().map_err(|_| Error::HttpRequestUriInvalid)?.to_string(),
            None if host.is_empty() => return Err(Error::HttpRequestUriInvalid),
            None => host.to_ascii_lowercase(),
        };
        Ok(Self { plain, host, port })
    }

    /// Returns the address if the host is a literal address.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Returns the value of the header `host`.
    pub(super) fn authority(&self) -> String {
        let host = bracketed(&self.host);
        if self.port == usual_port(self.plain) { host } else { format!("{host}:{}", self.port) }
    }
}

impl HttpGrant {
    /// Returns whether the grant covers requests of this method to this destination.
    pub(super) fn covers(&self, to: &Destination, method: &str) -> bool {
        self.reaches(to) && self.methods.iter().any(|allowed| allowed == method)
    }

    fn reaches(&self, to: &Destination) -> bool {
        (self.plain, self.host.as_str(), self.port) == (to.plain, to.host.as_str(), to.port)
    }

    /// Returns the entry of `allow.http` for this grant.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = vec![format!("host = {}", quoted(&self.host))];
        if self.port != usual_port(self.plain) {
            parts.push(format!("port = {}", self.port));
        }
        let methods: Vec<String> = self.methods.iter().map(|method| quoted(method)).collect();
        parts.push(format!("methods = [{}]", methods.join(", ")));
        for (flag, name) in [(self.plain, "plain"), (self.private, "private")] {
            if flag {
                parts.push(format!("{name} = true"));
            }
        }
        format!("{{ {} }}", parts.join(", "))
    }

    /// Returns the smallest grant that covers a request.
    pub(super) fn for_request(to: &Destination, method: &str, private: bool) -> Self {
        Self {
            host: to.host.clone(),
            port: to.port,
            methods: vec![method.to_owned()],
            plain: to.plain,
            private,
            authorities: None,
        }
    }
}

/// Returns the default port of the scheme: 80 for `http`, 443 for `https`.
#[must_use]
pub const fn usual_port(plain: bool) -> u16 {
    if plain { 80 } else { 443 }
}

/// Returns a text as a TOML string.
#[must_use]
pub fn quoted(text: &str) -> String {
    // TOML accepts the escapes of JSON.
    serde_json::Value::from(text).to_string()
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(uri: &str) -> Option<(bool, String, u16)> {
        let found = Destination::of(&uri.parse().unwrap()).ok()?;
        Some((found.plain, found.host, found.port))
    }

    #[test]
    fn a_host_has_one_accepted_form() {
        for (uri, expected) in [
            ("https://Hooks.Example.com/a", Some((false, "hooks.example.com".to_owned(), 443))),
            ("http://hooks.example.com:81/", Some((true, "hooks.example.com".to_owned(), 81))),
            ("http://[0:0::1]:81/", Some((true, "::1".to_owned(), 81))),
            ("https://hooks.example.com@evil.example/", None),
            ("https://user:pw@hooks.example.com/", None),
            ("https://hooks.example.com:99999/", None),
            ("https://hooks.example.com:/", None),
        ] {
            assert_eq!(destination(uri), expected, "{uri}");
        }
        // Other forms of an address are other hosts, and no grant can name them.
        assert_eq!(destination("http://2130706433/").unwrap().1, "2130706433");
        assert_eq!(destination("http://example.com./").unwrap().1, "example.com.");
    }

    #[test]
    fn a_line_has_only_the_keys_that_are_needed() {
        let to = Destination::of(&"https://x.example/".parse().unwrap()).unwrap();
        let grant = HttpGrant::for_request(&to, "POST", false);
        assert_eq!(grant.line(), r#"{ host = "x.example", methods = ["POST"] }"#);
        assert!(grant.covers(&to, "POST") && !grant.covers(&to, "GET"));
        let to = Destination::of(&"http://[::1]:8080/".parse().unwrap()).unwrap();
        let line = HttpGrant::for_request(&to, "GET", true).line();
        assert_eq!(line, r#"{ host = "::1", port = 8080, methods = ["GET"], plain = true, private = true }"#);
        assert_eq!(to.authority(), "[::1]:8080");
    }
}
