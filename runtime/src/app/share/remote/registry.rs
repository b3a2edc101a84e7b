//! A repository in a registry of OCI artifacts: sends requests to it, and logs in when it asks for that. User and
//! password go to the host of the registry only, and tokens to the registry only.

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, StatusCode};
use klines_bybit::connect::{Dialer, redacted};
use klines_domain::secret::Secret;
use klines_sharing::source::Reference;
use serde::Deserialize;
use url::Url;

use super::challenge::Challenge;
use super::http::{Answer, HttpClient, HttpRequest, TimeLimits, led_to};

/// The variables with user and password.
const USER: &str = "KLINES_REGISTRY_USER";
const PASSWORD: &str = "KLINES_REGISTRY_PASSWORD";
/// The maximum size of an answer in bytes that is neither a manifest nor a component, such as a token.
pub(super) const MAX_ANSWER: u64 = 1 << 20;

/// User and password.
pub(super) struct Login {
    user: Secret,
    password: Secret,
}

impl Login {
    /// Reads the two variables.
    ///
    /// # Errors
    /// When only one of them is set.
    pub(super) fn of_variables(variable: impl Fn(&str) -> Option<Secret>) -> anyhow::Result<Option<Self>> {
        match (variable(USER), variable(PASSWORD)) {
            (Some(user), Some(password)) => Ok(Some(Self { user, password })),
            (None, None) => Ok(None),
            (Some(_), None) => bail!("{USER} is set, and {PASSWORD} is not"),
            (None, Some(_)) => bail!("{PASSWORD} is set, and {USER} is not"),
        }
    }

    fn header(&self) -> anyhow::Result<HeaderValue> {
        let pair = Secret::new(format!("{}:{}", self.user.expose(), self.password.expose()));
        hidden(&format!("Basic {}", BASE64_STANDARD.encode(pair.expose())))
    }
}

/// A token as a registry gives it. Both names are used.
#[derive(Deserialize)]
struct WireToken {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// A repository.
pub(super) struct Registry {
    client: HttpClient,
    base: Url,
    /// What is asked of it.
    pub(super) reference: Reference,
    login: Option<Login>,
    /// What the registry has accepted last.
    authorization: Option<HeaderValue>,
}

impl Registry {
    /// Creates a client of the registry of `reference`, without connecting.
    pub(super) async fn new(
        dialer: Dialer,
        reference: &Reference,
        login: Option<Login>,
        limits: TimeLimits,
    ) -> anyhow::Result<Self> {
        let base = reference.registry().with_context(|| reference.to_string())?;
        let client = HttpClient::new(dialer, &base, limits).await;
        Ok(Self { client, base, reference: reference.clone(), login, authorization: None })
    }

    /// Returns the address of a part of the repository, such as `manifests/1.2.0`.
    pub(super) fn url(&self, part: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{}/{part}", self.reference.name));
        url
    }

    /// Returns the address that an answer leads to, such as that of an upload.
    ///
    /// # Errors
    /// When it is less protected than the registry.
    pub(super) fn led_to(&self, location: &str) -> anyhow::Result<Url> {
        Ok(led_to(&self.base, location)?)
    }

    /// Sends a request, and logs in if the registry asks for that.
    ///
    /// # Errors
    /// When there is no answer, or the log-in fails.
    pub(super) async fn send(&mut self, request: HttpRequest) -> anyhow::Result<Answer> {
        let shown = redacted(&request.url);
        let is_own = request.url.origin() == self.base.origin();
        let authorized = |authorization: &Option<HeaderValue>| HttpRequest {
            authorization: authorization.clone().filter(|_| is_own),
            ..request.clone()
        };
        let answer = self.client.send(&authorized(&self.authorization)).await.with_context(|| shown.clone())?;
        if answer.status != StatusCode::UNAUTHORIZED || answer.url.origin() != self.base.origin() {
            return Ok(answer);
        }
        self.authorization = Some(self.log_in(&answer).await.with_context(|| shown.clone())?);
        self.client.send(&authorized(&self.authorization)).await.with_context(|| shown)
    }

    async fn log_in(&self, refusal: &Answer) -> anyhow::Result<HeaderValue> {
        let headers = refusal.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenge = Challenge::parse(headers.filter_map(|value| value.to_str().ok()));
        match (challenge, &self.login) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => self.token(&realm, service, scope).await,
            (Some(Challenge::Basic), Some(login)) => login.header(),
            (Some(Challenge::Basic), None) => {
                bail!("the registry asks for a user and a password: set {USER} and {PASSWORD}")
            }
            (None, _) => {
                bail!("the registry asks for a log-in and does not say how (401 without a usable {WWW_AUTHENTICATE})")
            }
        }
    }

    /// Asks for a token. User and password go along only if the address is one of the registry's own host.
    async fn token(&self, realm: &str, service: Option<String>, scope: Option<String>) -> anyhow::Result<HeaderValue> {
        let mut url = led_to(&self.base, realm).context("the log-in of the registry")?;
        let parameters = [("service", service), ("scope", scope)];
        for (name, value) in parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        let shown = redacted(&url);
        let is_own = url.host() == self.base.host();
        let mut request = HttpRequest::new(Method::GET, url, MAX_ANSWER);
        if let Some(login) = self.login.as_ref().filter(|_| is_own) {
            request.authorization = Some(login.header()?);
        }
        let answer = self.client.send(&request).await.with_context(|| format!("the log-in at {shown}"))?;
        if answer.status != StatusCode::OK {
            let hint = match (&self.login, is_own) {
                (None, _) => format!("; set {USER} and {PASSWORD} if it needs an account"),
                (Some(_), false) => "; user and password are not sent to another host than the registry".to_owned(),
                (Some(_), true) => String::new(),
            };
            bail!("the log-in at {shown} answers {}{hint}", answer.status);
        }
        // What the parser says of a wrong answer could have the token.
        let token = serde_json::from_slice(&answer.body).ok();
        let token = token.and_then(|WireToken { token, access_token }| token.or(access_token));
        let token = Secret::new(token.with_context(|| format!("the log-in at {shown} gives no token"))?);
        hidden(&format!("Bearer {}", token.expose()))
    }
}

/// Refuses an answer that does not have the expected status.
///
/// # Errors
/// With the status, and what helps.
pub(super) fn check_status(answer: Answer, expected: &[StatusCode]) -> anyhow::Result<Answer> {
    if expected.contains(&answer.status) {
        return Ok(answer);
    }
    let hint = match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!(": {USER} and {PASSWORD} have to be those of an account that may do this")
        }
        StatusCode::NOT_FOUND => ": the registry has no such artifact".to_owned(),
        _ => String::new(),
    };
    bail!("{}: HTTP status {}{hint}", redacted(&answer.url), answer.status)
}

/// Returns a request with a body of a type.
pub(super) fn sending(method: Method, url: Url, kind: &'static str, body: Bytes) -> HttpRequest {
    HttpRequest::new(method, url, MAX_ANSWER).with(CONTENT_TYPE, HeaderValue::from_static(kind)).sending(body)
}

/// Returns a header that is shown nowhere.
fn hidden(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| anyhow::anyhow!("the log-in has characters that no header can have"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_set_together_and_shown_nowhere() {
        let variables = |names: &'static [&'static str]| {
            Login::of_variables(move |name| names.contains(&name).then(|| Secret::new("opensesame".to_owned())))
        };
        assert!(variables(&[]).unwrap().is_none());
        let error = |names| variables(names).err().unwrap().to_string();
        assert_eq!(error(&[USER]), "KLINES_REGISTRY_USER is set, and KLINES_REGISTRY_PASSWORD is not");
        assert_eq!(error(&[PASSWORD]), "KLINES_REGISTRY_PASSWORD is set, and KLINES_REGISTRY_USER is not");
        let header = variables(&[USER, PASSWORD]).unwrap().unwrap().header().unwrap();
        assert_eq!(header.to_str().unwrap(), "Basic b3BlbnNlc2FtZTpvcGVuc2VzYW1l");
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
