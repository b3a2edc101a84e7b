//! What `klines --version` prints: the version, the commit that the program was built from, and the machine that it was
//! built for.

use std::env::consts::{ARCH, OS};
use std::sync::LazyLock;

/// Commit and date, such as `1a2b3c4d5 2026-11-30`, where the build was given them (`packaging/commit`). The date is that
/// of the commit, so that the same commit makes the same program on every day.
const COMMIT: Option<&str> = option_env!("KLINES_COMMIT");

static TEXT: LazyLock<String> = LazyLock::new(|| text(COMMIT));

/// Returns the version with commit and machine.
#[must_use]
pub fn version() -> &'static str {
    &TEXT
}

fn text(commit: Option<&str>) -> String {
    let libc = match () {
        () if cfg!(target_env = "musl") => "-musl",
        () if cfg!(target_env = "gnu") => "-gnu",
        () => "",
    };
    let commit = commit.filter(|commit| !commit.is_empty()).map(|commit| format!("{commit}, ")).unwrap_or_default();
    format!("{} ({commit}{ARCH}-{OS}{libc})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_shown_where_it_is_known() {
        let version = env!("CARGO_PKG_VERSION");
        let known = text(Some("1a2b3c4d5 2026-11-30"));
        assert!(known.starts_with(&format!("{version} (1a2b3c4d5 2026-11-30, {ARCH}-{OS}")), "{known}");
        for unknown in [text(None), text(Some(""))] {
            assert!(unknown.starts_with(&format!("{version} ({ARCH}-{OS}")), "{unknown}");
        }
    }
}
