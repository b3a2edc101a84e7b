//! A component as an OCI artifact: reads and makes the manifest and the configuration, as the "Wasm OCI Artifact layout"
//! of the CNCF wants them. The artifact has one layer, the component; its signature is an annotation of the manifest, so
//! that the digest of the manifest covers both.

use std::collections::BTreeMap;

use klines_domain::sanitize::sanitize;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::digest::Digest;
use super::signature::{MAX_SIGNATURE, Signature};

/// The type of the manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of the configuration, which makes the manifest that of a component.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// The type of the layer.
pub const LAYER_TYPE: &str = "application/wasm";
/// The annotation that has the signature.
pub const SIGNATURE: &str = "klines.minisig";
/// The maximum size of a manifest in bytes.
pub const MAX_MANIFEST: u64 = 1 << 20;
/// The maximum length of a text of a manifest in a message.
const MAX_TEXT: usize = 128;
/// The time in a configuration, where the form demands one: the same component gives the same artifact at any time.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

/// A part of an artifact, as its manifest describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The type.
    pub media_type: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// The number of its bytes.
    pub size: u64,
}

impl Descriptor {
    fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(bytes), size: bytes.len() as u64 }
    }
}

/// A manifest as it is written. Unknown fields are ignored, as the specification demands.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireManifest {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What is read first: an index has neither a configuration nor layers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKind {
    #[serde(default)]
    media_type: Option<String>,
}

/// A configuration as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireConfig<'a> {
    created: &'a str,
    author: Option<&'a str>,
    architecture: &'a str,
    os: &'a str,
    layer_digests: [&'a Digest; 1],
    component: WireComponent<'a>,
}

#[derive(Serialize)]
struct WireComponent<'a> {
    exports: &'a [String],
    imports: &'a [String],
    target: Option<&'a str>,
}

/// What a manifest says of a component. Nothing of it is verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The component.
    pub layer: Descriptor,
    /// The text of its signature, if there is one.
    pub signature: Option<String>,
}

/// Why a manifest is not that of a component.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArtifactError {
    /// It is not a manifest at all.
    #[error("its manifest cannot be read: {0}")]
    Malformed(String),
    /// It has another type, such as an index of several images.
    #[error("its manifest has the type {0}, and one of {MANIFEST_TYPE} is expected")]
    Kind(String),
    /// It describes something else than a component, such as a container image.
    #[error("it is {0} and no component, whose type is {CONFIG_TYPE}")]
    Artifact(String),
    /// It has no layer or several.
    #[error("it has {0} layers, and a component is exactly one")]
    Layers(usize),
    /// Its layer is something else.
    #[error("its layer has the type {0}, and a component is {LAYER_TYPE}")]
    Layer(String),
    /// Its signature is too long to be one.
    #[error("its annotation {SIGNATURE} has {0} bytes, and a signature has at most {MAX_SIGNATURE}")]
    Signature(usize),
}

impl Artifact {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ArtifactError`] if it is not that of one component.
    pub fn parse(manifest: &[u8]) -> Result<Self, ArtifactError> {
        let text = |text: &str| sanitize(text, MAX_TEXT);
        let malformed = |error: serde_json::Error| ArtifactError::Malformed(text(&error.to_string()));
        let WireKind { media_type } = serde_json::from_slice(manifest).map_err(malformed)?;
        if let Some(kind) = media_type.filter(|kind| kind != MANIFEST_TYPE) {
            return Err(ArtifactError::Kind(text(&kind)));
        }
        let manifest: WireManifest = serde_json::from_slice(manifest).map_err(malformed)?;
        let WireManifest { schema_version, artifact_type, config, layers, mut annotations, .. } = manifest;
        if schema_version != 2 {
            return Err(ArtifactError::Malformed(format!("its schemaVersion is {schema_version}, and not 2")));
        }
        let mut kinds = artifact_type.into_iter().chain([config.media_type]);
        if let Some(other) = kinds.find(|kind| kind != CONFIG_TYPE) {
            return Err(ArtifactError::Artifact(text(&other)));
        }
        let count = layers.len();
        let [layer] = <[Descriptor; 1]>::try_from(layers).map_err(|_| ArtifactError::Layers(count))?;
        if layer.media_type != LAYER_TYPE {
            return Err(ArtifactError::Layer(text(&layer.media_type)));
        }
        let signature = annotations.remove(SIGNATURE);
        if let Some(signature) = signature.as_ref().filter(|signature| signature.len() > MAX_SIGNATURE) {
            return Err(ArtifactError::Signature(signature.len()));
        }
        Ok(Self { layer, signature })
    }
}

/// What an artifact says about its component.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The name of the component.
    pub title: &'a str,
    /// Its version; empty if it has none.
    pub version: &'a str,
    /// Its description; empty if it has none.
    pub description: &'a str,
    /// The interfaces that it exports.
    pub exports: &'a [String],
    /// The interfaces that it imports.
    pub imports: &'a [String],
}

/// The two texts of an artifact that are published with a component. The same component and signature give the same
/// texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The configuration.
    pub config: Vec<u8>,
    /// The manifest.
    pub manifest: Vec<u8>,
}

impl Publication {
    /// Describes a component.
    ///
    /// # Errors
    /// When a text cannot be written as JSON, which no text causes.
    pub fn new(component: &[u8], about: About<'_>, signature: &Signature) -> Result<Self, serde_json::Error> {
        let About { title, version, description, exports, imports } = about;
        let layer = Descriptor::of(LAYER_TYPE, component);
        let config = serde_json::to_vec(&WireConfig {
            created: NO_TIME,
            author: None,
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [&layer.digest],
            component: WireComponent { exports, imports, target: None },
        })?;
        let known = [
            ("org.opencontainers.image.title", title),
            ("org.opencontainers.image.version", version),
            ("org.opencontainers.image.description", description),
            (SIGNATURE, signature.text()),
        ];
        let known = known.into_iter().filter(|(_, text)| !text.is_empty());
        let manifest = serde_json::to_vec(&WireManifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            artifact_type: None,
            config: Descriptor::of(CONFIG_TYPE, &config),
            layers: vec![layer],
            annotations: known.map(|(name, text)| (name.to_owned(), text.to_owned())).collect(),
        })?;
        Ok(Self { config, manifest })
    }
}

#[cfg(test)]
mod tests;
