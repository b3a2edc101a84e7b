//! The admin socket: how an operator's `klines consumer …` reaches a `klines run` on the same machine. For the user
//! who runs it, and for nobody else.
//!
//! One JSON object asks, JSON objects answer, one a line. Nothing here holds up klines: orders wait on threads that
//! may block, and whoever does not read is cut.

pub mod client;
pub mod protocol;

mod server;
mod socket;

use std::path::{Path, PathBuf};

pub use self::server::Controls;
pub use self::socket::{Socket, open};

/// The socket's name in the folder of data.
const NAME: &str = "admin.sock";

/// Where the socket of a run with this folder of data is.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}
