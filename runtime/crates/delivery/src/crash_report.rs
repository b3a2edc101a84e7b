//! Crash reports: folders from which `klines consumer test` reproduces a crash. A report contains the component, its
//! settings without secrets, its limits, the last deliveries that it accepted, the delivery in progress and the error.
//!
//! The latest reports of each consumer are kept. Nothing here runs a component.

mod history;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use klines_system::private;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::history::{History, MAX_DELIVERIES, WHOLE};
use super::data_dir::{DataDir, QUARANTINE};
use super::record::WireDelivery;
use crate::call::{CrashKind, Delivery};

/// Maximum number of crash reports of one consumer; the oldest is removed for a new one.
const MOST: usize = 3;
/// Name of the description in a crash report's folder.
pub const DESCRIPTION: &str = "bundle.json";
/// Name of the component in a crash report's folder.
pub const COMPONENT: &str = "component.wasm";
/// Current value of [`CrashReport::version`]. Version 1 had no history; it is still read.
pub const VERSION: u32 = 2;
/// Versions that can be read.
const READ: std::ops::RangeInclusive<u32> = 1..=VERSION;

/// How an instance crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The call that crashed.
    pub call: &'static str,
    /// The kind of crash.
    pub kind: CrashKind,
    /// The error, with the guest's backtrace where there is one.
    pub message: String,
}

impl fmt::Display for Crash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} in {}: {}", self.kind, self.call, self.message)
    }
}

/// A consumer's component, with its settings.
#[derive(Clone, Debug)]
pub struct ComponentSnapshot {
    /// Name of the component if it is part of the program.
    pub shipped: Option<String>,
    /// Its bytes if it is not part of the program; `None` if its file has changed since it was loaded.
    pub bytes: Option<Vec<u8>>,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Its settings without secrets.
    pub settings: Value,
    /// Its limits, as in the configuration.
    pub limits: Value,
    /// Whether it can keep a state, which is not part of a crash report.
    pub uses_state: bool,
}

/// The description of a crash, as it is on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CrashReport {
    /// Version of this format.
    pub version: u32,
    /// The consumer's name.
    pub consumer: String,
    /// Name of the component if it is part of the program; otherwise it is in the same folder as this file.
    pub shipped: Option<String>,
    /// SHA-256 of the component, in hex.
    pub sha256: String,
    /// Whether the component is in the same folder as this file: not if it is part of the program, or its file had
    /// changed.
    pub has_component: bool,
    /// Its settings without secrets.
    pub settings: Value,
    /// Its limits.
    pub limits: Value,
    /// The call that crashed.
    pub call: String,
    /// The kind of crash.
    pub kind: String,
    /// The error, with the guest's backtrace.
    pub error: String,
    /// How far back `batches` goes: `from the start` of the instance, or `last N batches`.
    #[serde(default = "no_history")]
    pub history: String,
    /// The deliveries that the instance had accepted before, oldest first, if `consume` crashed.
    #[serde(default)]
    pub batches: Vec<WireDelivery>,
    /// Whether the component can keep a state, which is not part of the crash report.
    #[serde(default)]
    pub uses_state: bool,
    /// The delivery in progress, if `consume` crashed.
    pub delivery: Option<WireDelivery>,
}

/// Returns the history of a crash report of version 1.
fn no_history() -> String {
    "last 0 batches".to_owned()
}

/// The part of a description that is read first, because another version may have another format.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The folder of crash reports.
#[derive(Clone, Debug)]
pub struct CrashReports {
    folder: PathBuf,
    data_dir: DataDir,
}

impl CrashReports {
    /// Uses the folder `data_dir/quarantine`, which is created with the first crash report.
    #[must_use]
    pub fn new(data_dir: &DataDir) -> Self {
        Self { folder: data_dir.path().join(QUARANTINE), data_dir: data_dir.clone() }
    }

    /// Writes a crash report and returns its folder.
    ///
    /// # Errors
    /// An error of the file system, or that the data folder is full.
    pub fn write(
        &self,
        consumer: &str,
        component: &ComponentSnapshot,
        crash: &Crash,
        (history, delivery): (&History, Option<&Delivery>),
    ) -> io::Result<PathBuf> {
        // Earlier deliveries do not explain a crash in another call.
        let batches = history.deliveries().filter(|_| delivery.is_some());
        let report = CrashReport {
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
        let description = serde_json::to_vec_pretty(&report)?;
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

    /// Returns the folder of a consumer's next crash report, and removes the oldest ones to make room for it.
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

impl CrashReport {
    /// Reads a crash report from its folder or its description. Returns it with its folder.
    ///
    /// # Errors
    /// The file is missing, not a crash report, or of an unknown version.
    pub fn read(path: &Path) -> io::Result<(Self, PathBuf)> {
        let file = if path.is_dir() { path.join(DESCRIPTION) } else { path.to_path_buf() };
        let bytes = fs::read(&file)?;
        let Version { version } = serde_json::from_slice(&bytes)?;
        if !READ.contains(&version) {
            return Err(io::Error::other(format!(
                "this is a crash report of version {version}, and this klines reads versions {} to {VERSION}",
                READ.start()
            )));
        }
        let report: Self = serde_json::from_slice(&bytes)?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok((report, folder))
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
    fn a_crash_report_has_all_that_is_needed_and_only_the_latest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let reports = CrashReports::new(&DataDir::scratch(folder.path()));
        let delivery =
            Delivery { klines: [kline("BTCUSDT", "1m", 2, true).into()].into(), lost: 1, ..Delivery::default() };
        let mut history = History::default();
        (0..20).for_each(|_| history.push(&delivery));
        let written: Vec<_> = (0..5)
            .map(|_| reports.write("x", &snapshot(Some(b"component")), &crash(), (&history, Some(&delivery))).unwrap())
            .collect();
        assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), MOST);
        let (report, inside) = CrashReport::read(&written[4]).unwrap();
        assert_eq!((report.consumer.as_str(), report.kind.as_str(), report.has_component), ("x", "trap", true));
        assert_eq!(fs::read(inside.join(COMPONENT)).unwrap(), b"component");
        let back = Delivery::try_from(&report.delivery.unwrap()).unwrap();
        assert_eq!((back.lost, &*back.klines[0]), (1, &*delivery.klines[0]));
        assert_eq!((report.history.as_str(), report.batches.len()), ("last 16 batches", MAX_DELIVERIES));
        assert!(report.uses_state);
    }

    #[test]
    fn a_component_that_no_longer_exists_is_reported_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let written = CrashReports::new(&DataDir::scratch(folder.path()))
            .write("x", &snapshot(None), &crash(), (&History::default(), None))
            .unwrap();
        assert!(!CrashReport::read(&written).unwrap().0.has_component);
        assert!(!written.join(COMPONENT).exists());
    }

    #[test]
    fn crash_reports_of_version_1_are_read_and_later_versions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(DESCRIPTION);
        let old = r#"{"version":1,"consumer":"x","shipped":null,"sha256":"","has_component":false,"settings":{},
            "limits":null,"call":"consume","kind":"trap","error":"e","delivery":{"lost":0,"klines":[]}}"#;
        fs::write(&file, old).unwrap();
        let (report, _) = CrashReport::read(folder.path()).unwrap();
        assert_eq!((report.history.as_str(), report.batches.len(), report.uses_state), ("last 0 batches", 0, false));
        fs::write(&file, r#"{"version":3,"form":"another"}"#).unwrap();
        let refused = CrashReport::read(folder.path()).unwrap_err().to_string();
        assert_eq!(refused, "this is a crash report of version 3, and this klines reads versions 1 to 2");
    }
}
