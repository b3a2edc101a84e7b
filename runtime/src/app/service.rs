//! Reports to a service manager how far a run is: systemd, with `Type=notify`. Without one it does nothing.

use sd_notify::NotifyState;
use tracing::warn;

/// Reports that the run has started: its configuration is accepted, its consumers have started and its ports are open.
/// The exchange may still be out of reach; that is no reason to start the service again.
pub fn started() {
    notify(NotifyState::Ready);
}

/// Reports that the run is ending, so that the manager starts nothing that needs it.
pub fn ending() {
    notify(NotifyState::Stopping);
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        warn!(%error, "the service manager cannot be reached (NOTIFY_SOCKET)");
    }
}
