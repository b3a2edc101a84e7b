//! What an operator would write to grant a request that was denied: a line that works when it is pasted, and what it
//! opens besides.

use std::net::IpAddr;

use url::Host;

use super::address::Reach;
use super::rule::HttpGrant;

/// Methods that a grant can name.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Longest line that is printed; a longer one is cut down to its new entry.
const MOST_LINE: usize = 1_024;

/// What a grant of a private address opens.
const PRIVATE: &str = "it lets the consumer reach this machine or its private network, where services often trust \
                       whoever can connect";
/// What a grant of a special address opens.
const SPECIAL: &str = "it lets the consumer reach what only this machine is meant to ask: a cloud's metadata address \
                       hands out the credentials of the machine";

/// How a denied request would be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The line for `[consumers.NAME.allow]`, or the entry of its list `http`.
    pub(super) line: String,
    /// Whether the line stands for all of `http`; otherwise it is an entry more.
    pub(super) is_whole: bool,
    /// What it opens besides.
    pub(super) warning: Option<&'static str>,
}

impl Hint {
    /// Returns what would grant `wanted` besides what is `granted`, or why nothing would.
    pub(super) fn new<'a>(
        wanted: &HttpGrant,
        granted: impl Iterator<Item = &'a HttpGrant>,
    ) -> Result<Self, &'static str> {
        check(wanted)?;
        let mut all: Vec<HttpGrant> = granted.cloned().collect();
        match all.iter_mut().find(|known| known.is_at(wanted)) {
            Some(known) => known.widen(wanted),
            None => all.push(wanted.clone()),
        }
        let line = format!("http = [{}]", all.iter().map(HttpGrant::line).collect::<Vec<_>>().join(", "));
        // Where a file of certificates came from is not known here.
        let is_whole = all.iter().all(|grant| grant.authorities.is_none()) && line.len() <= MOST_LINE;
        let line = if is_whole { line } else { wanted.line() };
        Ok(Self { line, is_whole, warning: wanted.warning() })
    }

    /// The sentence for the log of the consumer `name`.
    pub(super) fn sentence(&self, name: &str) -> String {
        let Self { line, is_whole, warning } = self;
        let place = format!("[consumers.{name}.allow]");
        let mut text = match is_whole {
            true => format!("{line} in {place} would grant it"),
            false => format!("the entry {line} in the list `http` of {place} would grant it"),
        };
        if let Some(warning) = warning {
            text.push_str(&format!("; beware: {warning}"));
        }
        text
    }
}

impl HttpGrant {
    /// Returns what it opens besides the internet, where that is dangerous.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match self.host.parse().map(Reach::of) {
            Ok(Reach::Special) => Some(SPECIAL),
            Ok(Reach::Private) => Some(PRIVATE),
            _ => self.private.then_some(PRIVATE),
        }
    }

    /// Whether both are for the same host, port and scheme, for which the configuration takes one entry.
    fn is_at(&self, other: &Self) -> bool {
        (&self.host, self.port, self.plain) == (&other.host, other.port, other.plain)
    }

    fn widen(&mut self, other: &Self) {
        self.private |= other.private;
        let new = other.methods.iter().filter(|method| !self.methods.contains(method));
        self.methods.extend(new.cloned().collect::<Vec<_>>());
    }
}

/// Refuses what the configuration would refuse.
fn check(wanted: &HttpGrant) -> Result<(), &'static str> {
    if !wanted.methods.iter().all(|method| METHODS.contains(&method.as_str())) {
        return Err("no grant can name this method");
    }
    let is_plain_form = wanted.host.parse::<IpAddr>().is_ok_and(|address| address.to_string() == wanted.host)
        || matches!(Host::parse(&wanted.host), Ok(Host::Domain(name)) if name == wanted.host && !name.ends_with('.'));
    if !is_plain_form || wanted.port == 0 {
        return Err("no grant can name this host: it is not written in its plain form");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::rule::Destination;

    fn wanted(url: &str, method: &str, private: bool) -> HttpGrant {
        HttpGrant::for_request(&Destination::of(&url.parse().unwrap()).unwrap(), method, private)
    }

    #[test]
    fn a_line_holds_what_is_granted_already() {
        let (first, more) = (wanted("https://a.example/", "GET", false), wanted("http://b.example:81/", "GET", false));
        let hint = Hint::new(&wanted("https://a.example/", "POST", false), [&first, &more].into_iter()).unwrap();
        assert_eq!(
            hint.line,
            r#"http = [{ host = "a.example", methods = ["GET", "POST"] }, { host = "b.example", port = 81, methods = ["GET"], plain = true }]"#
        );
        let certified = HttpGrant { authorities: Some(Vec::new()), ..first };
        let hint = Hint::new(&wanted("https://c.example/", "GET", false), [&certified].into_iter()).unwrap();
        assert_eq!((hint.line.as_str(), hint.is_whole), (r#"{ host = "c.example", methods = ["GET"] }"#, false));
    }

    #[test]
    fn what_no_grant_can_name_gets_no_line() {
        for (url, method) in [
            ("http://2130706433/", "GET"),
            ("http://0x7f.1/", "GET"),
            ("http://a.example./", "GET"),
            ("http://a.example/", "BREW"),
            ("http://a.example:0/", "GET"),
        ] {
            assert!(Hint::new(&wanted(url, method, false), [].into_iter()).is_err(), "{url}");
        }
    }

    #[test]
    fn dangerous_addresses_are_named_as_such() {
        for (url, private, expected) in [
            ("http://169.254.169.254/", false, Some(SPECIAL)),
            ("http://169.254.0.1/", false, Some(SPECIAL)),
            ("http://[fd00:ec2::254]/", false, Some(SPECIAL)),
            ("http://100.100.100.200/", false, Some(SPECIAL)),
            ("http://192.168.1.1/", true, Some(PRIVATE)),
            ("http://localhost/", true, Some(PRIVATE)),
            ("http://inside.example/", true, Some(PRIVATE)),
            ("http://8.8.8.8/", false, None),
        ] {
            assert_eq!(Hint::new(&wanted(url, "GET", private), [].into_iter()).unwrap().warning, expected, "{url}");
        }
    }
}
