//! Runs a real `docker-registry` for one test, on loopback and with its own folder, and ends it when it is dropped.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where `make registry` puts it.
const FETCHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/docker-registry");
/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a condition is checked.
const LOOK: Duration = Duration::from_millis(10);
/// The user and the password of a registry that asks for them.
pub const LOGIN: (&str, &str) = ("acme", "registry pass");
/// The same as the registry reads it.
const HTPASSWD: &str = "acme:$2y$04$ef2O01PDBtOHgYmZ7y/geOL3Kpg1fvNFOqAGapMFYl7kG5CjMpXSm\n";

/// The registry. Dropping it kills it.
pub struct RegistryServer {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl RegistryServer {
    /// Starts a registry for everybody.
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts a registry that asks for [`LOGIN`].
    pub fn with_login() -> Self {
        Self::with("auth:\n  htpasswd: { realm: test, path: htpasswd }\n")
    }

    fn with(auth: &str) -> Self {
        // Another process may take the port meanwhile.
        let started = (0..20).find_map(|_| {
            let folder = TempDir::new().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "version: 0.1\nstorage:\n  filesystem: {{ rootdirectory: data }}\nhttp:\n  addr: 127.0.0.1:{port}\n{auth}"
            );
            fs::write(folder.path().join("config.yml"), text).unwrap();
            fs::write(folder.path().join("htpasswd"), HTPASSWD).unwrap();
            let mut server = Self { child: spawn(folder.path()), port, _folder: folder };
            server.is_up().then_some(server)
        });
        started.expect("docker-registry starts")
    }

    /// Waits until it answers. Returns `false` if it has ended.
    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if answers(self.port) {
                return true;
            }
            assert!(Instant::now() < deadline, "docker-registry does not answer");
            thread::park_timeout(LOOK);
        }
        false
    }

    /// Returns a reference to an artifact in it.
    pub fn reference(&self, name_and_tag: &str) -> String {
        format!("oci://127.0.0.1:{}/{name_and_tag}", self.port)
    }
}

impl Drop for RegistryServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    let program = if Path::new(FETCHED).exists() { FETCHED } else { "docker-registry" };
    let mut command = Command::new(program);
    command.args(["serve", "config.yml"]).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("docker-registry is missing: type `make registry`, or install it")
}

fn answers(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"GET /v2/ HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    asked.is_ok_and(|text| text.starts_with("HTTP/1."))
}
