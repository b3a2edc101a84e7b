//! What the operator may write under `[consumers.jsonl.settings]`. Does not look at the disk.

use klines_guest::Problem;
use serde::Deserialize;

/// Where and how the files are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Directory as the consumer sees it, at or below what `allow.dirs` grants. Default `/out`.
    pub(crate) dir: String,
    /// How file names begin: letters, digits, `.`, `_`, `-`. Two consumers in one directory need two prefixes.
    /// Default `klines`.
    pub(crate) prefix: String,
    /// Closed klines only, or updates of open windows too. Default `closed`.
    pub(crate) show: Show,
    /// Size in MiB at which a file is set aside as `.1`, `.2` and so on; 0 never does. Default 256.
    pub(crate) rotate_mb: u32,
    /// Compresses files that are finished. Default false.
    pub(crate) gzip: bool,
    /// Days that files are kept after theirs; 0 keeps them for ever. Default 0.
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
    /// Returns everything that is wrong with values of the right type.
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

    /// Returns the size in bytes at which a file is set aside; `None` for never.
    pub(crate) fn rotate_bytes(&self) -> Option<u64> {
        (self.rotate_mb > 0).then(|| u64::from(self.rotate_mb) << 20)
    }
}
