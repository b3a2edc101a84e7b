//! The table `[manifest]` of a `consumer.toml`: what a component says of itself and asks for, in every language. A build
//! writes it into the section of the component that operators are shown.

use klines_wasm::manifest::{ManifestError, SECTION, Wants};
use serde::{Deserialize, Serialize};
use wasm_encoder::{ComponentSection as _, CustomSection};

use super::project::Name;

/// The table, with the keys of the section. An unknown key is an error, because it would ask for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(default)]
    version: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    http: Vec<WantedHttp>,
    #[serde(default)]
    dirs: Vec<WantedDir>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    secrets: Vec<WantedSecret>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedHttp {
    host: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedDir {
    guest: String,
    #[serde(default)]
    write: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedSecret {
    header: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

/// The content of the section.
#[derive(Serialize)]
struct Written<'a> {
    name: &'a str,
    #[serde(flatten)]
    manifest: &'a Manifest,
}

impl Manifest {
    /// Adds the section to a component of this name.
    ///
    /// # Errors
    /// When the component has one already, or klines would refuse this one.
    pub(super) fn add_to(&self, component: &mut Vec<u8>, name: &Name) -> Result<(), ManifestError> {
        let json = serde_json::to_vec(&Written { name: name.as_str(), manifest: self });
        let json = json.map_err(|error| ManifestError::Malformed(error.to_string()))?;
        CustomSection { name: SECTION.into(), data: json.into() }.append_to_component(component);
        Wants::of(component).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component without anything.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn manifest(text: &str) -> Manifest {
        toml::from_str(text).unwrap()
    }

    fn added(text: &str) -> Result<klines_wasm::manifest::Manifest, ManifestError> {
        let mut component = EMPTY.to_vec();
        manifest(text).add_to(&mut component, &Name::parse("demo").unwrap())?;
        Ok(Wants::of(&component)?.manifest.unwrap())
    }

    #[test]
    fn everything_that_is_written_is_what_operators_are_shown() {
        let found = added(
            "version = \"1.2.0\"\ndescription = \"Alerts\"\nhttp = [{ host = \"a.example\" }, { host = \"*\", methods = [\"POST\"] }]\n\
             dirs = [{ guest = \"/in\" }, { guest = \"/out\", write = true }]\nenv = [\"TZ\"]\n\
             secrets = [{ header = \"x-key\" }, { header = \"authorization\", host = \"a.example\" }]",
        );
        let found = found.unwrap();
        let words = [found.name, found.version, found.description];
        assert_eq!(words, ["demo", "1.2.0", "Alerts"]);
        let http: Vec<_> = found.http.iter().map(|want| (want.host.as_str(), want.methods.join(" "))).collect();
        assert_eq!(http, [("a.example", "GET".to_owned()), ("*", "POST".to_owned())]);
        let dirs: Vec<_> = found.dirs.iter().map(|want| (want.guest.as_str(), want.write)).collect();
        assert_eq!(dirs, [("/in", false), ("/out", true)]);
        assert_eq!(found.env, ["TZ"]);
        let secrets: Vec<_> = found.secrets.iter().map(|want| (want.header.as_str(), want.host.as_str())).collect();
        assert_eq!(secrets, [("x-key", "*"), ("authorization", "a.example")]);
        assert_eq!(added("").unwrap().name, "demo");
    }

    #[test]
    fn a_manifest_that_would_be_refused_is_not_written() {
        assert!(matches!(added("env = [\"T\\u200BZ\"]"), Err(ManifestError::Malformed(_))));
        let long = format!("env = [\"{}\"]", "x".repeat(klines_wasm::manifest::MAX_BYTES));
        assert!(matches!(added(&long), Err(ManifestError::TooLarge(_))));
        let (mut component, name) = (EMPTY.to_vec(), Name::parse("demo").unwrap());
        manifest("").add_to(&mut component, &name).unwrap();
        assert!(matches!(manifest("").add_to(&mut component, &name), Err(ManifestError::Several)));
        assert!(toml::from_str::<Manifest>("dirs = [{ guest = \"/out\", writable = true }]").is_err());
    }
}
