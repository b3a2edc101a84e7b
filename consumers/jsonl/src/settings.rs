//! The settings of `[consumers.jsonl.settings]`. Does not access the disk.

use klines_guest::Problem;
use serde::Deserialize;

/// Where and how the files are written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The directory as the consumer sees it: one that `allow.dirs` grants, or one below. Default `/out`.
    pub(crate) dir: String,
    /// The beginning of every file name: letters, digits, `.`, `_`, `-`. Two consumers in one directory need different
    /// prefixes. Default `klines`.
    pub(crate) prefix: String,
    /// Writes only closed klines, or also updates of open windows. Default `closed`.
    pub(crate) show: Show,
    /// The size in MiB at which a file is renamed to `.1`, `.2` and so on; 0 for no limit. Default 256.
    pub(crate) rotate_mb: u32,
    /// Whether finished files are compressed. Default false.
    pub(crate) gzip: bool,
    /// The number of days that a file is kept after its own day; 0 keeps files for ever. Default 0.
    pub(crate) keep_days: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Show {
    #[default]
    Closed,
    All,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: "/out".into(),
            prefix: "klines".into(),
            show: Show::Closed,
            rotate_mb: 256,
            gzip: false,
            keep_days: 0,
        }
    }
}

impl Settings {
    /// Returns all problems of values that have the right type.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.dir.starts_with('/') || self.dir.split('/').any(|part| part == "..") {
            problems.push(Problem::new("dir", format!("is \"{}\"", self.dir), "an absolute path without .."));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.prefix.is_empty()
            || self.prefix.len() > 64
            || self.prefix.starts_with('.')
            || !self.prefix.chars().all(plain)
        {
            let expected = "1 to 64 letters, digits, . _ or -, not beginning with .";
            problems.push(Problem::new("prefix", format!("is \"{}\"", self.prefix), expected));
        }
        problems
    }

    /// Returns the size in bytes at which a file is renamed; `None` for no limit.
    pub(crate) fn rotate_bytes(&self) -> Option<u64> {
        (self.rotate_mb > 0).then(|| u64::from(self.rotate_mb) << 20)
    }
}
