//! The commands that look at a run and at what it needs, against the real binary: `tail`, `doctor` and `top`.

// Lets clippy treat the helpers here as test code too.
#![cfg(test)]

mod doctor;
mod tail;
mod top;

use std::path::Path;

use crate::support::program::Running;

/// Waits until a run answers on its admin socket.
fn wait_for_socket(run: &Running, home: &Path) {
    run.until("the socket", |_| home.join("klines-data/admin.sock").exists());
}
