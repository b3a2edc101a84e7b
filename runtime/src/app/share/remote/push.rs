//! Publishes a component in a registry: its bytes and its configuration, and then the manifest that names both.

use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::header::LOCATION;
use hyper::{Method, StatusCode};
use klines_sharing::digest::Digest;
use klines_sharing::oci::{MANIFEST_TYPE, Publication};

use super::http::HttpRequest;
use super::pull::tagged;
use super::registry::{MAX_ANSWER, Registry, check_status, sending};
use crate::app::output;

/// Publishes a component under the tag of the reference. Returns the digest of its manifest, and whether the tag had it
/// already.
pub(super) async fn push(
    registry: &mut Registry,
    component: Vec<u8>,
    Publication { config, manifest }: Publication,
    move_tag: bool,
) -> anyhow::Result<(Digest, bool)> {
    let tag = registry.reference.tag.clone().context("a component is published under a tag: oci://HOST/NAME:TAG")?;
    let digest = Digest::of(&manifest);
    match tagged(registry, &tag).await? {
        Some(there) if there == digest => return Ok((digest, true)),
        Some(there) if !move_tag => bail!(
            "{}: the tag {tag} names {there} already, which operators may have taken: publish under another tag, or move it \
             with --move-tag",
            registry.reference
        ),
        Some(there) => output::eprint(&format!("the tag {tag} is moved from {there}")),
        None => {}
    }
    for (what, bytes) in [("component", component), ("configuration", config)] {
        let (blob, size) = (Digest::of(&bytes), bytes.len());
        if has(registry, &blob).await? {
            output::eprint(&format!("{what:<14}{blob} is there already"));
        } else {
            upload(registry, &blob, bytes.into()).await.with_context(|| format!("uploading the {what}"))?;
            output::eprint(&format!("{what:<14}{blob}, {size} bytes"));
        }
    }
    let url = registry.url(&format!("manifests/{tag}"));
    let answer = registry.send(sending(Method::PUT, url, MANIFEST_TYPE, manifest.into())).await?;
    check_status(answer, &[StatusCode::CREATED]).context("uploading the manifest")?;
    // Whoever takes the tag gets what was published, and nothing that the registry has made of it.
    match tagged(registry, &tag).await? {
        Some(there) if there == digest => Ok((digest, false)),
        there => bail!(
            "{}: the tag {tag} names {}, and {digest} was published: somebody else has moved it, or the registry has \
             changed the manifest",
            registry.reference,
            there.map_or_else(|| "nothing".to_owned(), |there| there.to_string())
        ),
    }
}

async fn has(registry: &mut Registry, blob: &Digest) -> anyhow::Result<bool> {
    let request = HttpRequest::new(Method::HEAD, registry.url(&format!("blobs/{blob}")), 0);
    // Whatever else it answers, the upload says what is wrong.
    Ok(registry.send(request).await?.status == StatusCode::OK)
}

/// Uploads a blob in one piece.
async fn upload(registry: &mut Registry, digest: &Digest, bytes: Bytes) -> anyhow::Result<()> {
    let begin = HttpRequest::new(Method::POST, registry.url("blobs/uploads/"), MAX_ANSWER);
    let answer = check_status(registry.send(begin).await?, &[StatusCode::ACCEPTED])?;
    let location = answer.header(&LOCATION).context("the registry does not say where to")?;
    let mut url = registry.led_to(location)?;
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    let answer = registry.send(sending(Method::PUT, url, "application/octet-stream", bytes)).await?;
    check_status(answer, &[StatusCode::CREATED])?;
    Ok(())
}
