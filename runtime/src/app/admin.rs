//! The admin socket, through which `klines consumer …` talks to a `klines run` on the same machine. Only the user who
//! runs klines, and root, can use it.
//!
//! A request is a JSON object; its answers are JSON objects, one per line. The socket never delays klines: orders wait
//! on threads that may block, and a client that does not read is disconnected.

pub mod client;
pub mod protocol;

mod server;
mod socket;

use std::path::{Path, PathBuf};

pub use self::server::Controls;
pub use self::socket::{Socket, open};

/// The file name of the socket in the data folder.
const NAME: &str = "admin.sock";

/// Returns the path of the socket of a run with the data folder `data_dir`.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}
