//! Fetches a component from a registry: its manifest, whose digest is checked, and the bytes that the manifest names.

use anyhow::{Context, bail};
use hyper::header::{ACCEPT, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use klines_bybit::connect::redacted;
use klines_sharing::digest::Digest;
use klines_sharing::oci::{Artifact, Descriptor, MAX_MANIFEST};

use super::Remote;
use super::http::HttpRequest;
use super::registry::{Registry, check_status};

/// The header that names the digest of a manifest.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// What is asked for: also what is no component, so that it is named and not missing.
const KINDS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// Fetches a component of at most `max_size` bytes, and the digest of its manifest.
pub(super) async fn pull(registry: &mut Registry, max_size: u64) -> anyhow::Result<(Remote, Digest)> {
    let (manifest, digest) = manifest(registry).await?;
    let shown = registry.reference.pinned(digest.clone());
    let Artifact { layer, signature } = Artifact::parse(&manifest).with_context(|| shown.to_string())?;
    if layer.size > max_size {
        bail!("{shown}: its component has {} bytes, at most {max_size} are allowed", layer.size);
    }
    let bytes = component(registry, &layer).await.with_context(|| shown.to_string())?;
    Ok((Remote { bytes, signature }, digest))
}

/// Fetches the manifest that the reference names, and computes its digest.
async fn manifest(registry: &mut Registry) -> anyhow::Result<(Vec<u8>, Digest)> {
    let url = registry.url(&format!("manifests/{}", registry.reference.asked()));
    let request = HttpRequest::new(Method::GET, url, MAX_MANIFEST);
    let answer = registry.send(request.with(ACCEPT, HeaderValue::from_static(KINDS))).await?;
    let answer = check_status(answer, &[StatusCode::OK])?;
    let found = Digest::of(&answer.body);
    let named: Option<Digest> = answer.header(&CONTENT_DIGEST).and_then(|text| text.parse().ok());
    for wanted in registry.reference.digest.iter().chain(&named) {
        if *wanted != found {
            bail!(
                "{}: the manifest has {found}, and {wanted} was demanded: it is another one, or was changed",
                redacted(&answer.url)
            );
        }
    }
    Ok((answer.body, found))
}

/// Fetches the component that a manifest names.
async fn component(registry: &mut Registry, layer: &Descriptor) -> anyhow::Result<Vec<u8>> {
    let Descriptor { digest, size, .. } = layer;
    let url = registry.url(&format!("blobs/{digest}"));
    let answer = check_status(registry.send(HttpRequest::new(Method::GET, url, *size)).await?, &[StatusCode::OK])?;
    let arrived = answer.body.len() as u64;
    if arrived != *size {
        bail!("its component has {arrived} bytes, and its manifest names {size}");
    }
    let found = Digest::of(&answer.body);
    if found != *digest {
        bail!("its component has {found}, and its manifest names {digest}: it was changed");
    }
    Ok(answer.body)
}

/// Returns the digest of the manifest that the tag names by now; `None` if the registry has no such tag.
pub(super) async fn tagged(registry: &mut Registry, tag: &str) -> anyhow::Result<Option<Digest>> {
    let url = registry.url(&format!("manifests/{tag}"));
    let request = HttpRequest::new(Method::GET, url, MAX_MANIFEST);
    let answer = registry.send(request.with(ACCEPT, HeaderValue::from_static(KINDS))).await?;
    let answer = check_status(answer, &[StatusCode::OK, StatusCode::NOT_FOUND])?;
    Ok((answer.status == StatusCode::OK).then(|| Digest::of(&answer.body)))
}
