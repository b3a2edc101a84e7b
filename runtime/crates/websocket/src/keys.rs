//! The valid logins: users with their keys, and the forms in which a client proves that it has a key.
//!
//! Compares digests in constant time, and every check compares all logins. The response time therefore reveals neither
//! how much of a key was right, nor its length, nor whose it is. Reads no message and no header except the value of
//! `Authorization`; does not count failures (`throttle` does).

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use hmac::{Hmac, Mac};
use klines_domain::secret::Secret;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use thiserror::Error;

/// How long after its expiry a signature is still accepted, because a client's clock may be behind, ms.
const CLOCK_SKEW_MS: u64 = 5_000;

/// The text that Bybit's clients sign, followed by the time of expiry.
const SIGNED: &str = "GET/realtime";

/// Why a signature is refused. Clients get the same answer in both cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The signature has expired.
    #[error("the signature has expired")]
    Expired,
    /// The user is unknown, or the text was signed with another key.
    #[error("the signature is not that of a known user")]
    Wrong,
}

/// All valid logins. A user may have several keys, so that a key can be replaced without an interruption.
#[derive(Clone, Debug)]
pub struct Keys {
    logins: Vec<Login>,
}

#[derive(Clone)]
struct Login {
    user: String,
    user_digest: [u8; 32],
    key_digest: [u8; 32],
    key: Secret,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Login").field("user", &self.user).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Keys {
    /// Creates the set of logins from users and their keys. Logins with an empty key are left out.
    #[must_use]
    pub fn new(logins: Vec<(String, Secret)>) -> Self {
        let given = logins.into_iter().filter(|(_, key)| !key.expose().is_empty());
        let logins =
            given.map(|(user, key)| Login { user_digest: digest(&user), key_digest: digest(key.expose()), user, key });
        Self { logins: logins.collect() }
    }

    /// Returns the user if there is such a user and `key` is one of their keys.
    #[must_use]
    pub fn check_pair(&self, user: &str, key: &str) -> Option<&str> {
        let (user, key) = (digest(user), digest(key));
        self.find(|login| login.user_digest.ct_eq(&user) & login.key_digest.ct_eq(&key))
    }

    /// Returns the user that `key` belongs to.
    #[must_use]
    pub fn check_key(&self, key: &str) -> Option<&str> {
        let key = digest(key);
        self.find(|login| login.key_digest.ct_eq(&key))
    }

    /// Returns the user that the value of an `Authorization` header authenticates, as `Basic` or `Bearer`.
    #[must_use]
    pub fn check_authorization(&self, value: &str) -> Option<&str> {
        self.check_basic(value).or_else(|| self.check_bearer(value))
    }

    /// Returns the user of `Basic base64(user:key)`. The key may contain colons, the user cannot.
    #[must_use]
    pub fn check_basic(&self, value: &str) -> Option<&str> {
        let coded = credentials(value, "Basic")?.trim_end_matches('=');
        let pair = String::from_utf8(BASE64_STANDARD_NO_PAD.decode(coded).ok()?).ok()?;
        let (user, key) = pair.split_once(':')?;
        self.check_pair(user, key)
    }

    /// Returns the user of `Bearer key`.
    #[must_use]
    pub fn check_bearer(&self, value: &str) -> Option<&str> {
        self.check_key(credentials(value, "Bearer")?)
    }

    /// Returns the user, if `signature` is the lower-case hexadecimal HMAC-SHA256 of `GET/realtime` and `expires_ms`
    /// under one of their keys, and has not expired by more than five seconds. Times are ms since 1970 UTC.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check_signature(
        &self,
        user: &str,
        expires_ms: u64,
        signature: &str,
        now_ms: u64,
    ) -> Result<&str, SignatureError> {
        let (user, signature) = (digest(user), digest(signature));
        let text = format!("{SIGNED}{expires_ms}");
        let found = self.find(|login| {
            let right = digest(&sign(login.key.expose(), &text));
            login.user_digest.ct_eq(&user) & right.ct_eq(&signature)
        });
        let found = found.ok_or(SignatureError::Wrong)?;
        if expires_ms.saturating_add(CLOCK_SKEW_MS) < now_ms { Err(SignatureError::Expired) } else { Ok(found) }
    }

    /// Returns the user of the login that fits; checks every login in any case, so that the time does not depend on it.
    fn find(&self, fits: impl Fn(&Login) -> Choice) -> Option<&str> {
        let mut found = u32::MAX;
        for (index, login) in (0_u32..).zip(&self.logins) {
            found.conditional_assign(&index, fits(login));
        }
        self.logins.get(usize::try_from(found).ok()?).map(|login| login.user.as_str())
    }
}

/// Returns the part of the header's value after `scheme`, which is compared without case.
fn credentials<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.trim().split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Returns the lower-case hexadecimal HMAC-SHA256 of `text`.
fn sign(key: &str, text: &str) -> String {
    // HMAC accepts keys of any length. If that failed, the empty text would match no signature of 64 digits.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    mac.update(text.as_bytes());
    let code: [u8; 32] = mac.finalize().into_bytes().into();
    code.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(logins: &[(&str, &str)]) -> Keys {
        let secret = |(user, key): &(&str, &str)| ((*user).to_owned(), Secret::new((*key).to_owned()));
        Keys::new(logins.iter().map(secret).collect())
    }

    fn two() -> Keys {
        keys(&[("ann", "a-key-of-ann"), ("bob", "a:key:of-bob"), ("ann", "another-of-ann")])
    }

    #[test]
    fn every_valid_key_is_accepted_and_no_other() {
        let keys = two();
        for (user, key, expected) in [
            ("ann", "a-key-of-ann", Some("ann")),
            ("ann", "another-of-ann", Some("ann")),
            ("bob", "a:key:of-bob", Some("bob")),
            ("bob", "a-key-of-ann", None),
            ("ann", "a-key-of-an", None),
            ("ann", "A-key-of-ann", None),
            ("ann", "", None),
            ("", "", None),
        ] {
            assert_eq!(keys.check_pair(user, key), expected, "{user} {key}");
        }
        assert_eq!(keys.check_key("a:key:of-bob"), Some("bob"));
        assert_eq!(keys.check_key("a:key:of-bo"), None);
    }

    #[test]
    fn an_empty_key_is_never_accepted() {
        let keys = keys(&[("ann", "")]);
        assert_eq!((keys.check_pair("ann", ""), keys.check_key("")), (None, None));
        assert_eq!(Keys::new(Vec::new()).check_key(""), None);
    }

    #[test]
    fn authorization_headers_are_accepted_in_both_forms() {
        let keys = two();
        for (value, expected) in [
            ("Basic YW5uOmEta2V5LW9mLWFubg==", Some("ann")),
            ("basic  YW5uOmEta2V5LW9mLWFubg", Some("ann")),
            ("Basic Ym9iOmE6a2V5Om9mLWJvYg==", Some("bob")),
            ("Bearer another-of-ann", Some("ann")),
            ("BEARER another-of-ann ", Some("ann")),
            ("Bearer", None),
            ("another-of-ann", None),
            ("Basic another-of-ann", None),
            ("Basic /////w==", None),
            ("Basic YW5u", None),
            ("Digest another-of-ann", None),
            ("", None),
        ] {
            assert_eq!(keys.check_authorization(value), expected, "{value}");
        }
    }

    #[test]
    fn a_signature_like_bybits_is_accepted_until_it_expires() {
        const EXPIRES: u64 = 1_662_350_400_000;
        const SIGNATURE: &str = "d7ca36fea9ef1287007fd4b15af961e91d419a3d3f3ccbdf23585170ac116cd4";
        let keys = keys(&[("ann", "other"), ("bob", "secret"), ("ann", "secret")]);
        let check = |user: &str, signature: &str, now| keys.check_signature(user, EXPIRES, signature, now);
        assert_eq!(check("bob", SIGNATURE, EXPIRES - 1_000), Ok("bob"));
        assert_eq!(check("ann", SIGNATURE, EXPIRES + 5_000), Ok("ann"));
        assert_eq!(check("ann", SIGNATURE, EXPIRES + 5_001), Err(SignatureError::Expired));
        assert_eq!(check("eve", SIGNATURE, 0), Err(SignatureError::Wrong));
        assert_eq!(check("bob", &SIGNATURE.to_uppercase(), 0), Err(SignatureError::Wrong));
        assert_eq!(check("bob", "", 0), Err(SignatureError::Wrong));
        assert_eq!(keys.check_signature("bob", EXPIRES + 1, SIGNATURE, 0), Err(SignatureError::Wrong));
        assert_eq!(keys.check_signature("bob", u64::MAX, SIGNATURE, u64::MAX), Err(SignatureError::Wrong));
    }

    #[test]
    fn debug_never_shows_a_key() {
        let shown = format!("{:?}", keys(&[("ann", "canary")]));
        assert!(shown.contains("ann") && !shown.contains("canary"), "{shown}");
    }
}
