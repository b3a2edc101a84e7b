//! Downloads files, such as a component and its signature, which has the same URL with the ending `.minisig`.

use anyhow::{Context, bail};
use hyper::{Method, StatusCode};
use klines_bybit::connect::redacted;
use klines_sharing::signature::MAX_SIGNATURE;
use url::Url;

use super::Remote;
use super::http::{HttpClient, HttpRequest};
use crate::app::share::sign::SIGNATURE_ENDING;

/// Downloads a component and its signature.
pub(super) async fn download(client: &HttpClient, url: &Url, max_size: u64) -> anyhow::Result<Remote> {
    let bytes = file(client, url, max_size).await?;
    let mut beside = url.clone();
    beside.set_path(&format!("{}{SIGNATURE_ENDING}", url.path()));
    let signature = get(client, &beside, MAX_SIGNATURE as u64).await?;
    let signature = signature.map(String::from_utf8).transpose();
    let signature = signature.with_context(|| format!("{}: it is not a signature of minisign", redacted(&beside)))?;
    Ok(Remote { bytes, signature })
}

/// Downloads one file.
pub(super) async fn file(client: &HttpClient, url: &Url, max_size: u64) -> anyhow::Result<Vec<u8>> {
    let bytes = get(client, url, max_size).await?;
    bytes.with_context(|| format!("{}: there is no such file", redacted(url)))
}

/// Returns the content of a URL; `None` if it has none.
async fn get(client: &HttpClient, url: &Url, max_size: u64) -> anyhow::Result<Option<Vec<u8>>> {
    let answer = client.send(&HttpRequest::new(Method::GET, url.clone(), max_size)).await;
    let answer = answer.with_context(|| redacted(url))?;
    match answer.status {
        StatusCode::OK => Ok(Some(answer.body)),
        // Some stores of files answer 403 for a file that does not exist.
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Ok(None),
        status => bail!("{}: HTTP status {status}", redacted(url)),
    }
}
