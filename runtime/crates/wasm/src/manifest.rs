//! What a component wants: what its imports say, and what it asks for in an optional section `klines:manifest`.
//!
//! A grant is what is wanted *and* allowed. Reads and compares; grants nothing itself.

mod narrow;
mod section;

use klines_domain::sanitize::{is_unsafe, sanitize};
use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::narrow::Missing;

/// The custom section that a manifest stands in, of the component itself or of a module inside it.
pub const SECTION: &str = "klines:manifest";
/// Longest manifest, in bytes.
pub const MOST_BYTES: usize = 64 << 10;
/// Bytes of what the reader says of a manifest that are kept: it quotes the manifest.
const MOST_ERROR: usize = 256;
/// Bytes of its name, its version and its description that are kept.
const MOST_WORDS: usize = 1_024;
/// In a manifest, any host: which one is the operator's choice.
pub const ANY_HOST: &str = "*";

/// What a component wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The names of what it imports, in its own order.
    pub imports: Vec<String>,
    /// What it asks for, if it says.
    pub manifest: Option<Manifest>,
}

/// The JSON of the section. Keys that this runtime does not know ask for nothing that it could grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The component's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a line.
    pub description: String,
    /// Hosts that it talks to.
    pub http: Vec<WantedHttp>,
    /// Folders that it uses.
    pub dirs: Vec<WantedDir>,
    /// Variables that it reads.
    pub env: Vec<String>,
    /// Secrets that the host is to put into its requests.
    pub secrets: Vec<WantedSecret>,
}

/// A host that a component talks to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedHttp {
    /// Its name, or [`ANY_HOST`].
    pub host: String,
    /// Methods. Default: GET.
    #[serde(default = "get")]
    pub methods: Vec<String>,
}

/// A folder that a component uses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedDir {
    /// Its path inside the sandbox.
    pub guest: String,
    /// Whether it changes files there. Default: no.
    #[serde(default)]
    pub write: bool,
}

/// A secret that a component does without seeing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WantedSecret {
    /// The header that it goes into.
    pub header: String,
    /// The host that gets it, or [`ANY_HOST`].
    #[serde(default = "any_host")]
    pub host: String,
}

fn get() -> Vec<String> {
    vec!["GET".to_owned()]
}

fn any_host() -> String {
    ANY_HOST.to_owned()
}

/// Why a manifest is not used. A component with such a manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Over [`MOST_BYTES`].
    #[error("its manifest has {0} bytes, the most is {MOST_BYTES}")]
    TooLarge(usize),
    /// Which one would count?
    #[error("it has more than one manifest")]
    Several,
    /// Not JSON, or not of this form.
    #[error("its manifest cannot be read: {0}")]
    Malformed(String),
}

impl Wants {
    /// Reads what the bytes of a component say. Bytes that are no component want nothing; that they are none is for
    /// the compiler to say.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn of(bytes: &[u8]) -> Result<Self, ManifestError> {
        let found = section::find(bytes)?;
        let manifest = found.manifest.map(|json| {
            // An object first: a list would pass for its values.
            let object = serde_json::from_slice::<Map<String, Value>>(json);
            let manifest = object.and_then(|object| serde_json::from_value::<Manifest>(Value::Object(object)));
            let manifest = manifest.map_err(|error| error.to_string()).and_then(Manifest::checked);
            manifest.map_err(|error| ManifestError::Malformed(sanitize(&error, MOST_ERROR)))
        });
        Ok(Self { imports: found.imports, manifest: manifest.transpose()? })
    }

    /// Whether it can make HTTP requests at all.
    #[must_use]
    pub fn imports_http(&self) -> bool {
        self.does_import("wasi:http/outgoing-handler")
    }

    /// Whether it can use folders at all.
    #[must_use]
    pub fn imports_dirs(&self) -> bool {
        self.does_import("wasi:filesystem/preopens")
    }

    /// Whether it can read variables at all.
    #[must_use]
    pub fn imports_env(&self) -> bool {
        self.does_import("wasi:cli/environment")
    }

    /// Whether it can keep a state at all.
    #[must_use]
    pub fn imports_state(&self) -> bool {
        self.does_import("klines:consumer/state")
    }

    fn does_import(&self, interface: &str) -> bool {
        self.imports.iter().any(|name| name.split('@').next() == Some(interface))
    }
}

impl Manifest {
    /// Takes what is not seen out of the words about it, and refuses it in what an operator would grant.
    fn checked(self) -> Result<Self, String> {
        let hosts = self.http.iter().flat_map(|want| want.methods.iter().chain([&want.host]));
        let secrets = self.secrets.iter().flat_map(|want| [&want.header, &want.host]);
        let dirs = self.dirs.iter().map(|want| &want.guest);
        let mut wanted = hosts.chain(secrets).chain(dirs).chain(&self.env);
        if let Some(hidden) = wanted.find(|text| text.chars().any(is_unsafe)) {
            return Err(format!("{hidden:?} has characters that are not seen"));
        }
        drop(wanted);
        let words = |text: &str| sanitize(text, MOST_WORDS);
        let (name, version, description) = (words(&self.name), words(&self.version), words(&self.description));
        Ok(Self { name, version, description, ..self })
    }
}

#[cfg(test)]
mod tests;
