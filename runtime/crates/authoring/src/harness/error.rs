//! Why a consumer cannot be tested.

use std::io;
use std::path::PathBuf;

use klines_wasm::component::ComponentError;
use thiserror::Error;

/// Why a case cannot be run, or its golden file cannot be compared or written.
#[derive(Debug, Error)]
pub enum HarnessError {
    /// The temporary folders of a case cannot be created.
    #[error("making a temporary folder")]
    Scratch(#[source] io::Error),
    /// The component cannot be used.
    #[error("{}", path.display())]
    Component {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: ComponentError,
    },
    /// A golden file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A golden file cannot be written.
    #[error("writing {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that a case names as its golden file was not written by this command.
    #[error("{} is not a golden file of this command, and is not replaced: remove it, or name another file", .0.display())]
    NotGolden(PathBuf),
}
