//! Components of other machines: fetched from a URL or a registry, and published in a registry. What is fetched is
//! bounded in size and time, and not trusted yet.

mod challenge;
mod download;
mod http;
mod pull;
mod push;
mod registry;

use klines_bybit::connect::Dialer;
use klines_config::Config;
use klines_domain::secret::Secret;
use klines_sharing::digest::Digest;
use klines_sharing::oci::Publication;
use klines_sharing::source::Reference;
use url::Url;

use self::http::{HttpClient, TimeLimits};
use self::registry::{Login, Registry};
use crate::app::exchange;

/// A component and its signature, as they have arrived.
pub(super) struct Remote {
    /// The bytes of the component.
    pub(super) bytes: Vec<u8>,
    /// The text of its signature, if there is one.
    pub(super) signature: Option<String>,
}

/// Downloads a component of at most `max_size` bytes, and the signature next to it.
///
/// # Errors
/// When the component cannot be downloaded, or the signature neither arrives nor is missing.
pub(super) fn download(config: &Config, url: &Url, max_size: u64) -> anyhow::Result<Remote> {
    with_dialer(config, async |dialer| {
        let client = HttpClient::new(dialer, url, TimeLimits::FETCH).await;
        download::download(&client, url, max_size).await
    })
}

/// Downloads a file of at most `max_size` bytes.
///
/// # Errors
/// When it cannot be downloaded.
pub(super) fn file(config: &Config, url: &Url, max_size: u64) -> anyhow::Result<Vec<u8>> {
    with_dialer(config, async |dialer| {
        let client = HttpClient::new(dialer, url, TimeLimits::FETCH).await;
        download::file(&client, url, max_size).await
    })
}

/// Fetches a component of at most `max_size` bytes from a registry, and the digest of its manifest.
///
/// # Errors
/// When it is not there, is no component, or does not have the digests that it is said to have.
pub(super) fn pull(config: &Config, reference: &Reference, max_size: u64) -> anyhow::Result<(Remote, Digest)> {
    let login = Login::of_variables(variable)?;
    with_dialer(config, async |dialer| {
        let mut registry = Registry::new(dialer, reference, login, TimeLimits::FETCH).await?;
        pull::pull(&mut registry, max_size).await
    })
}

/// Publishes a component under the tag of `reference`. Returns the digest of its manifest, and whether the tag had it
/// already.
///
/// # Errors
/// When the registry refuses it, or the tag names something else and may not be moved.
pub(super) fn publish(
    config: &Config,
    reference: &Reference,
    component: Vec<u8>,
    publication: Publication,
    move_tag: bool,
) -> anyhow::Result<(Digest, bool)> {
    let login = Login::of_variables(variable)?;
    with_dialer(config, async |dialer| {
        let mut registry = Registry::new(dialer, reference, login, TimeLimits::PUBLISH).await?;
        push::push(&mut registry, component, publication, move_tag).await
    })
}

fn variable(name: &str) -> Option<Secret> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new)
}

fn with_dialer<T>(config: &Config, task: impl AsyncFnOnce(Dialer) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let dialer = exchange::dialer(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(task(dialer))
}
