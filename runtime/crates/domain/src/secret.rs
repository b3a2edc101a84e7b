//! Values that must never be printed, and the one function that takes passwords out of addresses.
//!
//! Does not decide what is secret: whoever reads a value into a [`Secret`] does.

mod weakness;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

pub use self::weakness::{SHORTEST_KEY, Weakness};

/// What stands where a secret is.
pub const MASK: &str = "***";

/// Parts of a name that mark its value as secret.
const SECRET_WORDS: [&str; 7] = ["key", "token", "secret", "pass", "auth", "sign", "credential"];

/// A text that has no `Display`, prints `***` under `Debug`, and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// Returns the text. The caller must not log, print or store it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

/// Returns an address with its password, and the values of secret-looking query parameters, replaced by `***`.
///
/// Works on text, so that an address too broken to be parsed does not leak either.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // The last `@`: a password that was not percent-encoded may hold others, and slashes too.
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (redact_login(login), address),
        None => (String::new(), rest),
    };
    if login.is_empty()
        && !scheme.is_empty()
        && let Some(user) = user_alone(rest)
    {
        return format!("{scheme}{user}:{MASK}");
    }
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, format!("?{}", redact_query(query))),
        None => (address, String::new()),
    };
    format!("{scheme}{login}{path}{query}")
}

/// Whether a name (of a query parameter or a setting) says that its value is secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The user of an address that breaks off before its host: what stands behind the colon is no port.
fn user_alone(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An address of IPv6 in brackets has colons of its own.
    let (user, port) = authority.split_once(':').filter(|_| !authority.starts_with('['))?;
    let is_port = port.is_empty() || (!user.is_empty() && port.parse::<u16>().is_ok());
    (!is_port).then_some(user)
}

fn redact_login(login: &str) -> String {
    match login.split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}@"),
        None => format!("{MASK}@"),
    }
}

fn redact_query(query: &str) -> String {
    let redact_pair = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret_name(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(redact_pair).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        assert_eq!(format!("{:?}", Some(Secret::new("canary".to_owned()))), "Some(***)");
    }

    #[test]
    fn passwords_leave_addresses() {
        for (given, shown) in [
            ("redis://localhost:6379/0", "redis://localhost:6379/0"),
            ("redis://user:canary@host/0", "redis://user:***@host/0"),
            ("redis://:canary@host/0", "redis://:***@host/0"),
            ("redis://canary@host", "redis://***@host"),
            ("redis://me:canary", "redis://me:***"),
            ("redis://:123456/0", "redis://:***"),
            ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
            ("unix:///run/redis.sock", "unix:///run/redis.sock"),
            ("redis://:ca/na@ry@host/0", "redis://:***@host/0"),
            ("user:canary@proxy:3128", "user:***@proxy:3128"),
            ("wss://host/a?token=canary&b=1", "wss://host/a?token=***&b=1"),
            ("not an address", "not an address"),
        ] {
            assert_eq!(redact_url(given), shown);
        }
    }
}
