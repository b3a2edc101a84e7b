//! What led to the end of a consumer, written down so that `klines consumer test` shows it again: the component, its
//! settings without secrets, its limits, the last deliveries that it accepted, the one in hand and the error.
//!
//! Each consumer keeps its latest few bundles. Nothing here runs a component.

mod history;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use klines_system::private;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::history::{History, MOST_DELIVERIES, WHOLE};
use super::data_dir::{DataDir, QUARANTINE};
use super::record::WireDelivery;
use crate::call::{CrashKind, Delivery};

/// Bundles that one consumer keeps; the oldest goes.
const MOST: usize = 3;
/// The description inside a bundle's folder.
pub const DESCRIPTION: &str = "bundle.json";
/// The component inside a bundle's folder.
pub const COMPONENT: &str = "component.wasm";
/// What [`Bundle::version`] is. Version 1 had no history; it is still read.
pub const VERSION: u32 = 2;
/// Versions that are read.
const READ: std::ops::RangeInclusive<u32> = 1..=VERSION;

/// How an instance came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The call that it did not survive.
    pub call: &'static str,
    /// What ended it.
    pub kind: CrashKind,
    /// The error, with the guest's backtrace where there is one.
    pub message: String,
}

impl fmt::Display for Crash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}: {}", self.kind, self.call, self.message)
    }
}

/// The component that a consumer was made of, with its settings.
#[derive(Clone, Debug)]
pub struct ComponentSnapshot {
    /// Name of a component that is part of the program.
    pub shipped: Option<String>,
    /// Its bytes otherwise; absent if its file has changed since it was loaded.
    pub bytes: Option<Vec<u8>>,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Its settings, secrets taken out.
    pub settings: Value,
    /// Its limits, as in the configuration.
    pub limits: Value,
    /// Whether it can keep a state, which no bundle holds.
    pub uses_state: bool,
}

/// The description, as it is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    /// Of this form.
    pub version: u32,
    /// The consumer's name.
    pub consumer: String,
    /// Name of the component, if it is part of the program; otherwise it lies beside this file.
    pub shipped: Option<String>,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Whether the component lies beside this file: not if it is part of the program, or its file had changed.
    pub has_component: bool,
    /// Its settings, secrets taken out.
    pub settings: Value,
    /// Its limits.
    pub limits: Value,
    /// The call that it did not survive.
    pub call: String,
    /// What ended it.
    pub kind: String,
    /// The error, with the guest's backtrace.
    pub error: String,
    /// How far back `batches` goes: `from the start` of the instance, or `last N batches`.
    #[serde(default = "no_history")]
    pub history: String,
    /// The deliveries that the instance had accepted before, oldest first, if it was in `consume`.
    #[serde(default)]
    pub batches: Vec<WireDelivery>,
    /// Whether the component can keep a state. It is not part of the bundle.
    #[serde(default)]
    pub uses_state: bool,
    /// The delivery in hand, if it was in `consume`.
    pub delivery: Option<WireDelivery>,
}

/// What bundles of version 1 hold.
fn no_history() -> String {
    "last 0 batches".to_owned()
}

/// What is read before everything else.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Where bundles go.
#[derive(Clone, Debug)]
pub struct Bundles {
    folder: PathBuf,
    data_dir: DataDir,
}

impl Bundles {
    /// Names the folder `data_dir/quarantine`. Nothing is made until there is a bundle.
    #[must_use]
    pub fn new(data_dir: &DataDir) -> Self {
        Self { folder: data_dir.path().join(QUARANTINE), data_dir: data_dir.clone() }
    }

    /// Writes a bundle and returns its folder.
    ///
    /// # Errors
    /// What the file system says, or that the data folder is full.
    pub fn write(
        &self,
        consumer: &str,
        component: &ComponentSnapshot,
        crash: &Crash,
        (history, delivery): (&History, Option<&Delivery>),
    ) -> io::Result<PathBuf> {
        // What came before says nothing of a crash in another call.
        let batches = history.deliveries().filter(|_| delivery.is_some());
        let bundle = Bundle {
            version: VERSION,
            consumer: consumer.to_owned(),
            shipped: component.shipped.clone(),
            sha256: component.sha256.clone(),
            has_component: component.bytes.is_some(),
            settings: component.settings.clone(),
            limits: component.limits.clone(),
            call: crash.call.to_owned(),
            kind: crash.kind.to_string(),
            error: crash.message.clone(),
            history: history.extent(),
            batches: batches.map(WireDelivery::try_from).collect::<Result<_, _>>()?,
            uses_state: component.uses_state,
            delivery: delivery.map(WireDelivery::try_from).transpose()?,
        };
        let description = serde_json::to_vec_pretty(&bundle)?;
        self.data_dir.reserve((description.len() + component.bytes.as_ref().map_or(0, Vec::len)) as u64)?;
        let folder = self.next_folder(consumer)?;
        private::folder(&self.folder)?;
        private::folder(&folder)?;
        if let Some(component) = &component.bytes {
            private::write(&folder.join(COMPONENT), component)?;
        }
        private::write(&folder.join(DESCRIPTION), &description)?;
        Ok(folder)
    }

    /// The next number for a consumer; makes room for it.
    fn next_folder(&self, consumer: &str) -> io::Result<PathBuf> {
        let number = |path: &Path| {
            let name = path.file_name()?.to_str()?;
            name.strip_prefix(consumer)?.strip_prefix('-')?.parse::<u32>().ok()
        };
        let mut known = Vec::new();
        if self.folder.is_dir() {
            for entry in fs::read_dir(&self.folder)? {
                let path = entry?.path();
                known.extend(number(&path).map(|number| (number, path)));
            }
        }
        known.sort();
        let next = known.last().map_or(1, |(number, _)| number.saturating_add(1));
        for (_, path) in known.iter().take((known.len() + 1).saturating_sub(MOST)) {
            fs::remove_dir_all(path)?;
        }
        Ok(self.folder.join(format!("{consumer}-{next}")))
    }
}

impl Bundle {
    /// Reads a bundle from its folder or its description. Returns it with its folder.
    ///
    /// # Errors
    /// The file is missing, not a bundle, or of another version.
    pub fn read(path: &Path) -> io::Result<(Self, PathBuf)> {
        let file = if path.is_dir() { path.join(DESCRIPTION) } else { path.to_path_buf() };
        let bytes = fs::read(&file)?;
        // A later version may have another form.
        let Version { version } = serde_json::from_slice(&bytes)?;
        if !READ.contains(&version) {
            return Err(io::Error::other(format!(
                "it is a bundle of version {version}, and this klines reads versions {} to {VERSION}",
                READ.start()
            )));
        }
        let bundle: Self = serde_json::from_slice(&bytes)?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok((bundle, folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::kline;

    fn snapshot(component: Option<&[u8]>) -> ComponentSnapshot {
        ComponentSnapshot {
            shipped: None,
            bytes: component.map(<[u8]>::to_vec),
            sha256: super::super::digest(b"component"),
            settings: serde_json::json!({"mode": "trap"}),
            limits: Value::Null,
            uses_state: true,
        }
    }

    fn crash() -> Crash {
        Crash { call: "consume", kind: CrashKind::Trap, message: "unreachable".into() }
    }

    #[test]
    fn a_bundle_holds_all_that_is_needed_and_only_the_latest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let bundles = Bundles::new(&DataDir::scratch(folder.path()));
        let delivery =
            Delivery { klines: [kline("BTCUSDT", "1m", 2, true).into()].into(), lost: 1, ..Delivery::default() };
        let mut history = History::default();
        (0..20).for_each(|_| history.push(&delivery));
        let written: Vec<_> = (0..5)
            .map(|_| bundles.write("x", &snapshot(Some(b"component")), &crash(), (&history, Some(&delivery))).unwrap())
            .collect();
        assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), MOST);
        let (bundle, inside) = Bundle::read(&written[4]).unwrap();
        assert_eq!((bundle.consumer.as_str(), bundle.kind.as_str(), bundle.has_component), ("x", "trap", true));
        assert_eq!(fs::read(inside.join(COMPONENT)).unwrap(), b"component");
        let back = Delivery::try_from(&bundle.delivery.unwrap()).unwrap();
        assert_eq!((back.lost, &*back.klines[0]), (1, &*delivery.klines[0]));
        assert_eq!((bundle.history.as_str(), bundle.batches.len()), ("last 16 batches", MOST_DELIVERIES));
        assert!(bundle.uses_state);
    }

    #[test]
    fn a_component_that_is_not_there_any_more_is_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let written = Bundles::new(&DataDir::scratch(folder.path()))
            .write("x", &snapshot(None), &crash(), (&History::default(), None))
            .unwrap();
        assert!(!Bundle::read(&written).unwrap().0.has_component);
        assert!(!written.join(COMPONENT).exists());
    }

    #[test]
    fn bundles_of_version_1_are_read_and_later_ones_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DESCRIPTION);
        let old = r#"{"version":1,"consumer":"x","shipped":null,"sha256":"","has_component":false,"settings":{},
            "limits":null,"call":"consume","kind":"trap","error":"e","delivery":{"lost":0,"klines":[]}}"#;
        fs::write(&file, old).unwrap();
        let (bundle, _) = Bundle::read(folder.path()).unwrap();
        assert_eq!((bundle.history.as_str(), bundle.batches.len(), bundle.uses_state), ("last 0 batches", 0, false));
        fs::write(&file, r#"{"version":3,"form":"another"}"#).unwrap();
        let refused = Bundle::read(folder.path()).unwrap_err().to_string();
        assert_eq!(refused, "it is a bundle of version 3, and this klines reads versions 1 to 2");
    }
}
