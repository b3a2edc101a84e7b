//! Secret values that are never printed, and the function that removes passwords from URLs.
//!
//! Does not decide what is secret: the code that reads a value into a [`Secret`] does.

mod weakness;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

pub use self::weakness::{MIN_KEY_LENGTH, Weakness};

/// The replacement of a secret in output.
pub const MASK: &str = "***";

/// Parts of a name that mark its value as secret.
const SECRET_WORDS: [&str; 7] = ["key", "token", "secret", "pass", "auth", "sign", "credential"];

/// A text that has no `Display`, prints `***` under `Debug`, and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a text.
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

/// Compares configurations. It is not for checking a login: how long it takes depends on the texts.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

/// Returns a URL in which the password, and the values of query parameters with secret names, are replaced by `***`.
///
/// Works on the text, so that a URL that cannot be parsed does not leak its password either.
#[must_use]
pub fn redact_url(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // The last `@` counts: a password that was not percent-encoded may contain others, and slashes.
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (redact_login(login), address),
        None => (String::new(), rest),
    };
    if login.is_empty()
        && !scheme.is_empty()
        && let Some(user) = user_without_host(rest)
    {
        return format!("{scheme}{user}:{MASK}");
    }
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, format!("?{}", redact_query(query))),
        None => (address, String::new()),
    };
    format!("{scheme}{login}{path}{query}")
}

/// Returns whether the name of a query parameter or a setting marks its value as secret.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Returns the user of a URL that ends before its host: the text after the colon is not a port.
fn user_without_host(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // An IPv6 address in brackets contains colons itself.
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
