//! A hint for the operator after a denied request: the line that would grant it, ready to paste, and a warning about
//! what else it opens.

use std::net::IpAddr;

use url::Host;

use super::address::Reach;
use super::rule::HttpGrant;

/// The methods that a grant can name.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// The maximum length of a line in bytes; instead of a longer line, only its new entry is shown.
const MAX_LINE: usize = 1_024;

/// The warning about a grant of a private address.
const PRIVATE: &str = "it lets the consumer reach this machine or its private network, where services often trust \
                       whoever can connect";
/// The warning about a grant of a special address.
const SPECIAL: &str = "it lets the consumer reach what only this machine is meant to ask: a cloud's metadata address \
                       hands out the credentials of the machine";

/// A hint that says how a denied request would be granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    /// The line for `[consumers.NAME.allow]`, or an entry for its list `http`.
    pub(super) line: String,
    /// Whether the line replaces the whole key `http`; otherwise it is an additional entry.
    pub(super) is_whole: bool,
    /// A warning about what else it opens.
    pub(super) warning: Option<&'static str>,
}

impl Hint {
    /// Returns the hint that grants `wanted` in addition to `granted`, or the reason why it cannot be granted.
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
        // The path of a file of certificates is not known here, so the whole line cannot be written.
        let is_whole = all.iter().all(|grant| grant.authorities.is_none()) && line.len() <= MAX_LINE;
        let line = if is_whole { line } else { wanted.line() };
        Ok(Self { line, is_whole, warning: wanted.warning() })
    }

    /// Returns the sentence for the log, for the consumer `name`.
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
    /// Returns a warning if the grant opens more than the public internet.
    #[must_use]
    pub fn warning(&self) -> Option<&'static str> {
        match self.host.parse().map(Reach::of) {
            Ok(Reach::Special) => Some(SPECIAL),
            Ok(Reach::Private) => Some(PRIVATE),
            _ => self.private.then_some(PRIVATE),
        }
    }

    /// Returns whether both are for the same host, port and scheme, which share one entry in the configuration.
    fn is_at(&self, other: &Self) -> bool {
        (&self.host, self.port, self.plain) == (&other.host, other.port, other.plain)
    }

    fn widen(&mut self, other: &Self) {
        self.private |= other.private;
        let new = other.methods.iter().filter(|method| !self.methods.contains(method));
        self.methods.extend(new.cloned().collect::<Vec<_>>());
    }
}

/// Refuses a grant that the configuration would refuse.
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
    fn a_line_includes_the_existing_grants() {
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
    fn a_request_that_no_grant_can_name_has_no_hint() {
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
    fn dangerous_addresses_have_a_warning() {
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
