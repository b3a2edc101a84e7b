//! A service manager hears when a run has started and when it ends, as systemd's `Type=notify` expects.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::{Fixture, SOME, printed};

const TOML: &str = "[consumers.console]\nclosed_only = true\nsettings.format = \"json\"\n";

/// How long a message may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_hears_of_the_start_and_of_the_end() {
    let fixture = Fixture::new(113, TOML).await;
    let path = fixture.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut message = [0; 256];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };

    let run = fixture.run().with("NOTIFY_SOCKET", path.to_str().unwrap()).start();
    assert_eq!(heard(), "READY=1\n");
    run.until("closed klines", |said| printed(said) > SOME);
    run.interrupt();
    assert_eq!(heard(), "STOPPING=1\n");
    run.end().success();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_manager_that_is_gone_does_not_stop_a_run() {
    let fixture = Fixture::new(113, TOML).await;
    let gone = fixture.folder().join("gone");
    let run = fixture.run().with("NOTIFY_SOCKET", gone.to_str().unwrap()).start();
    run.until("closed klines", |said| printed(said) > SOME);
    run.interrupt();
    let said = run.end().success();
    assert_eq!(said.logged("the service manager cannot be reached (NOTIFY_SOCKET)").len(), 2, "{}", said.err);
}
