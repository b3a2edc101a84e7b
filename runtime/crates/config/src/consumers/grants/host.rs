//! Hosts and HTTP methods of grants. Each has exactly one accepted spelling, and wildcards are refused.

use std::net::{IpAddr, Ipv6Addr};

use url::Host;

use crate::value::{Fault, Scalar, choice};

/// The exact name of a host in lower case, or its address (IPv6 without brackets).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostName(pub String);

/// An HTTP method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Method(pub &'static str);

const METHODS: [(&str, Method); 7] = [
    ("GET", Method("GET")),
    ("HEAD", Method("HEAD")),
    ("POST", Method("POST")),
    ("PUT", Method("PUT")),
    ("PATCH", Method("PATCH")),
    ("DELETE", Method("DELETE")),
    ("OPTIONS", Method("OPTIONS")),
];

impl HostName {
    /// Returns whether it certainly names this machine.
    pub fn is_loopback(&self) -> bool {
        self.0 == "localhost" || self.0.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Returns whether it certainly names this machine or a host in a private network.
    pub fn is_private(&self) -> bool {
        self.is_loopback()
            || self.0.parse().is_ok_and(|address| match address {
                IpAddr::V4(address) => address.is_private(),
                IpAddr::V6(address) => address.is_unique_local(),
            })
    }
}

impl Scalar for HostName {
    const EXPECTED: &'static str = "an exact name such as hooks.example.com, or an address such as 192.0.2.7";

    fn parse(text: &str) -> Result<Self, Fault> {
        let fault =
            |what: &str, near: Option<String>| Fault::new(format!("`{text}` {what}"), Self::EXPECTED).nearest(near);
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<Ipv6Addr>() {
            return Ok(Self(address.to_string()));
        }
        if text.contains('*') {
            return Err(fault("is a pattern for several hosts, and each has to be named", None));
        }
        if let Some((_, rest)) = text.split_once("://") {
            let host = rest.split(['/', '?', '#', ':']).next().filter(|host| !host.is_empty());
            return Err(fault("is an address with a scheme, not a host", host.map(str::to_owned)));
        }
        if let Some((host, _)) = text.split_once(['/', ':']) {
            return Err(fault(
                "is more than a host: a port has its own key, and a grant cannot name paths",
                Some(host.to_owned()),
            ));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) if name == text.to_ascii_lowercase() && !name.ends_with('.') => Ok(Self(name)),
            Ok(Host::Ipv4(address)) if address.to_string() == text => Ok(Self(address.to_string())),
            Ok(other) => Err(fault(
                "is not the plain form of that host",
                Some(other.to_string().trim_end_matches('.').to_owned()),
            )),
            Err(_) => Err(fault("is not a host", None)),
        }
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Scalar for Method {
    const EXPECTED: &'static str = "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS";

    fn parse(text: &str) -> Result<Self, Fault> {
        choice(text, &METHODS, Self::EXPECTED)
    }

    fn show(&self) -> String {
        self.0.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (text, expected) in [
            ("Hooks.Example.com", Ok("hooks.example.com")),
            ("192.0.2.7", Ok("192.0.2.7")),
            ("[::0:1]", Ok("::1")),
            ("localhost", Ok("localhost")),
            ("https://hooks.example.com/a", Err(Some("hooks.example.com"))),
            ("hooks.example.com:443", Err(Some("hooks.example.com"))),
            ("hooks.example.com.", Err(Some("hooks.example.com"))),
            ("2130706433", Err(Some("127.0.0.1"))),
            ("0x7f.1", Err(Some("127.0.0.1"))),
            ("*.example.com", Err(None)),
            ("", Err(None)),
            ("a b", Err(None)),
        ] {
            let read = HostName::parse(text).map(|host| host.0).map_err(|fault| fault.nearest);
            assert_eq!(read, expected.map(str::to_owned).map_err(|near| near.map(str::to_owned)), "{text}");
        }
    }
}
