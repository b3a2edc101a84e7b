//! The permissions that a component requests: by its imports, and in the optional section `klines:manifest`.
//!
//! A permission is granted if it is requested *and* allowed. This module reads and compares; it grants nothing itself.

mod narrow;
mod section;

use klines_domain::sanitize::{is_unsafe, sanitize};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::narrow::Missing;

/// The name of the custom section of a manifest, in the component itself or in a module inside it.
pub const SECTION: &str = "klines:manifest";
/// The maximum length of a manifest in bytes.
pub const MAX_BYTES: usize = 64 << 10;
/// The maximum length in bytes of a parse error, because it quotes the manifest.
const MAX_ERROR: usize = 256;
/// The maximum length in bytes of the name, of the version and of the description.
const MAX_WORDS: usize = 1_024;
/// In a manifest, any host: the operator chooses it.
pub const ANY_HOST: &str = "*";

/// The interfaces without which a component cannot use a permission.
const HTTP: &str = "wasi:http/outgoing-handler";
const DIRS: &str = "wasi:filesystem/preopens";
const ENV: &str = "wasi:cli/environment";

/// The permissions that a component requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The names of its imports, in the order of the component.
    pub imports: Vec<String>,
    /// Its manifest, if it has one.
    pub manifest: Option<Manifest>,
}

/// The JSON of the section. Unknown keys are ignored: they request nothing that this runtime could grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The component's name.
    pub name: String,
    /// The version of the component.
    pub version: String,
    /// A description of the component in one line.
    pub description: String,
    /// The hosts to which it sends requests.
    pub http: Vec<WantedHttp>,
    /// The folders that it uses.
    pub dirs: Vec<WantedDir>,
    /// The environment variables that it reads.
    pub env: Vec<String>,
    /// The secrets that the host adds to its requests.
    pub secrets: Vec<WantedSecret>,
}

/// A host to which a component sends requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedHttp {
    /// The name of the host, or [`ANY_HOST`].
    pub host: String,
    /// The methods. Default: GET.
    #[serde(default = "get")]
    pub methods: Vec<String>,
}

/// A folder that a component uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedDir {
    /// The path inside the sandbox.
    pub guest: String,
    /// Whether the component changes files there. Default: false.
    #[serde(default)]
    pub write: bool,
}

/// A secret that the host adds to requests; the component never sees it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedSecret {
    /// The header that holds it.
    pub header: String,
    /// The host that receives it, or [`ANY_HOST`].
    #[serde(default = "any_host")]
    pub host: String,
}

fn get() -> Vec<String> {
    vec!["GET".to_owned()]
}

fn any_host() -> String {
    ANY_HOST.to_owned()
}

/// Why a manifest is invalid. A component with an invalid manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The manifest is longer than [`MAX_BYTES`].
    #[error("its manifest has {0} bytes, at most {MAX_BYTES} are allowed")]
    TooLarge(usize),
    /// There are several manifests, and none of them takes precedence.
    #[error("it has more than one manifest")]
    Several,
    /// The manifest is not JSON, or has wrong types.
    #[error("its manifest cannot be read: {0}")]
    Malformed(String),
}

impl Wants {
    /// Reads the requested permissions from the bytes of a component. Bytes that are not a component request nothing;
    /// the compiler reports that they are invalid.
    ///
    /// # Errors
    /// [`ManifestError`] if the manifest is invalid.
    pub fn of(bytes: &[u8]) -> Result<Self, ManifestError> {
        let found = section::find(bytes)?;
        let manifest = found.manifest.map(|json| {
            // Parsed as an object first, because serde would also accept a list of the values.
            let object = serde_json::from_slice::<Map<String, Value>>(json);
            let manifest = object.and_then(|object| serde_json::from_value::<Manifest>(Value::Object(object)));
            let manifest = manifest.map_err(|error| error.to_string()).and_then(Manifest::checked);
            manifest.map_err(|error| ManifestError::Malformed(sanitize(&error, MAX_ERROR)))
        });
        Ok(Self { imports: found.imports, manifest: manifest.transpose()? })
    }

    /// Returns whether the component can make HTTP requests at all.
    #[must_use]
    pub fn imports_http(&self) -> bool {
        self.does_import(HTTP)
    }

    /// Returns whether the component can use folders at all.
    #[must_use]
    pub fn imports_dirs(&self) -> bool {
        self.does_import(DIRS)
    }

    /// Returns whether the component can read environment variables at all.
    #[must_use]
    pub fn imports_env(&self) -> bool {
        self.does_import(ENV)
    }

    /// Returns whether the component can have a state at all.
    #[must_use]
    pub fn imports_state(&self) -> bool {
        self.does_import("klines:consumer/state")
    }

    /// Returns whether the component can read klines of the past at all.
    #[must_use]
    pub fn imports_history(&self) -> bool {
        self.does_import("klines:consumer/history")
    }

    fn does_import(&self, interface: &str) -> bool {
        self.imports.iter().any(|name| name.split('@').next() == Some(interface))
    }
}

impl Manifest {
    /// Removes invisible characters from the name, version and description, and refuses them in permissions.
    fn checked(self) -> Result<Self, String> {
        let hosts = self.http.iter().flat_map(|want| want.methods.iter().chain([&want.host]));
        let secrets = self.secrets.iter().flat_map(|want| [&want.header, &want.host]);
        let dirs = self.dirs.iter().map(|want| &want.guest);
        let mut wanted = hosts.chain(secrets).chain(dirs).chain(&self.env);
        if let Some(hidden) = wanted.find(|text| text.chars().any(is_unsafe)) {
            return Err(format!("{hidden:?} has invisible characters"));
        }
        drop(wanted);
        let words = |text: &str| sanitize(text, MAX_WORDS);
        let (name, version, description) = (words(&self.name), words(&self.version), words(&self.description));
        Ok(Self { name, version, description, ..self })
    }
}

#[cfg(test)]
mod tests;
