//! The refusal of a configuration as the error of a command, which ends with the exit code of `klines run`.

use std::path::PathBuf;

use klines_config::{Report, Sources};

/// The configuration is refused, for the reasons of the report.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is refused")]
pub(super) struct Refused(pub Report);

/// Returns the data folder of a command that needs nothing else of the configuration.
///
/// # Errors
/// When the files of the configuration cannot be read, or `data_dir` is wrong.
pub(super) fn data_dir(sources: Sources) -> Result<PathBuf, Refused> {
    klines_config::data_dir(sources).map_err(Refused)
}
