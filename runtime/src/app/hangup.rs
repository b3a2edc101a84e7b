//! Notices that a command that follows a run shall end: Ctrl-C, SIGTERM, or the reader of its output has gone, as in
//! `| head`. Without this, a command that waits for the next kline would notice none of them until it comes.

use std::io;
use std::os::fd::AsFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;

/// Calls `end` once when the command shall end.
///
/// # Errors
/// When the signals cannot be received.
pub fn when_unwanted(end: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("hangup".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = spawn_blocking(wait_for_closed_output) => {}
            }
        });
        end();
        // The other wait does not end; the process does.
        runtime.shutdown_background();
    })?;
    Ok(())
}

/// Waits until standard output is a pipe whose reader has gone, or a terminal that was closed.
fn wait_for_closed_output() {
    let stdout = io::stdout();
    let mut output = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
    while let Err(rustix::io::Errno::INTR) = poll(&mut output, None) {}
}
