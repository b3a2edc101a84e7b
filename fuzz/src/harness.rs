//! Runs a component from `setup` to `stop` under tight limits. Whatever the component does, the host neither panics nor
//! waits much longer than the limits allow.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use klines_delivery::data_dir::DataDir;
use klines_delivery::{Blueprint as _, Delivery, Failure};
use klines_domain::decimal::Decimal;
use klines_domain::interval::Interval;
use klines_domain::kline::{Kline, Quality};
use klines_domain::series::SeriesId;
use klines_domain::symbol::{Category, Symbol};
use klines_system::limits::Limits;
use klines_wasm::component::Component;
use klines_wasm::component_loader::Components;
use klines_wasm::engine::WasmEngine;
use klines_wasm::grants::{DirGrant, Grants};
use klines_wasm::http::{Egress, HttpGrant};
use klines_wasm::state::StateStore;
use klines_wasm::{Setup, WasmBlueprint};

/// The longest time of a call.
const CALL: Duration = Duration::from_millis(50);
/// The longest time of a run. A run has six calls; if it takes far longer than their limits together, something waited
/// without a limit.
const TOO_LONG: Duration = Duration::from_secs(20);
/// The quota of the state in bytes.
const STATE: usize = 4_096;
/// The quota in bytes of the folder that the component may write to.
const FOLDER: u64 = 64 << 10;
const CANARY: &str = "nobody reads or writes this";

/// Returns the loader of components; the whole process shares one engine.
pub fn components() -> &'static Components {
    static COMPONENTS: OnceLock<Components> = OnceLock::new();
    COMPONENTS.get_or_init(|| Components::new(WasmEngine::new().expect("an engine")))
}

/// Returns limits that end every call soon.
pub fn limits() -> Limits {
    Limits {
        memory: 4 << 20,
        call: CALL,
        start_up: CALL,
        hostcall_fuel: 1 << 20,
        handles: 50,
        table_elements: 10_000,
        instances: 20,
        random: 1 << 16,
        output: 1 << 16,
        state: STATE,
        http_requests: 2,
        http_body: 1 << 16,
        http_time: CALL,
        ..Limits::default()
    }
}

/// Starts the server to which the component may send requests, and returns its address. The server sends one response
/// per connection, whatever the request is.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(CALL));
                let _ = stream.read(&mut [0; 1_024]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            }
        });
        address
    })
}

/// Returns the authority (host and port) of that server.
pub fn authority() -> String {
    server().to_string()
}

fn egress() -> Egress {
    let methods = ["GET", "POST"].map(str::to_owned).to_vec();
    let (host, port) = (server().ip().to_string(), server().port());
    Egress::new(vec![HttpGrant { host, port, methods, plain: true, private: true, authorities: None }], Vec::new())
}

/// The folders of a component: one that it may write to, and a canary file next to it.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn get() -> &'static Self {
        static HOME: OnceLock<Home> = OnceLock::new();
        HOME.get_or_init(|| {
            let folder = tempfile::tempdir().expect("a folder");
            fs::write(folder.path().join("canary"), CANARY).expect("a file");
            Self { folder }
        })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes what the component wrote, and checks that nothing else changed.
    fn clean(&self) {
        let out = self.path().join("out");
        // Before a write, the blocks that the file system needs for itself are unknown.
        assert!(bytes_below(&out) <= 2 * FOLDER, "the folder holds {} bytes", bytes_below(&out));
        let _ = fs::remove_dir_all(out);
        let _ = fs::remove_dir_all(self.path().join("data"));
        assert_eq!(fs::read_to_string(self.path().join("canary")).expect("the canary"), CANARY);
        assert_eq!(fs::read_dir(self.path()).expect("the folder").count(), 1, "a file was created outside the grant");
    }
}

/// Returns the bytes on disk of everything below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)));
    found.map(|(path, found)| found.blocks() * 512 + if found.is_dir() { bytes_below(&path) } else { 0 }).sum()
}

/// Runs a component from `setup` to `stop`. A run may fail; it must end and must not harm the host.
pub fn run(component: Arc<Component>, settings: &str) {
    let home = Home::get();
    let since = Instant::now();
    let host = home.path().join("out");
    let dirs = vec![DirGrant { host, guest: "/out".into(), write: true, sensitive: false, max: FOLDER }];
    let setup = Setup {
        limits: limits(),
        grants: Grants { dirs, env: vec![("NAME".into(), "value".into())], http: egress(), ..Grants::default() },
        state: Some(Arc::new(StateStore::new(&DataDir::scratch(&home.path().join("data")), "fuzz", STATE))),
        ..Setup::plain("fuzz", settings)
    };
    let mut blueprint = WasmBlueprint::new(component, setup);
    let problems = blueprint.validate();
    assert!(problems.len() <= 100 && problems.iter().all(|problem| is_sanitized(&problem.message)), "{problems:?}");
    // After a crash, the instance cannot be called again.
    let ended = blueprint.instantiate(&Arc::default()).and_then(|mut instance| {
        let subscription = instance.setup()?;
        assert!(subscription.symbols.len().max(subscription.intervals.len()) <= 10_000);
        instance.start()?;
        for lost in 0..2 {
            let klines = (0..3).map(|window| Arc::new(kline(window))).collect();
            match instance.consume(&Delivery { klines, lost, ..Delivery::default() }) {
                Err(Failure::Retry(_)) | Ok(_) => {}
                Err(other) => return Err(other),
            }
        }
        instance.stop();
        Ok(())
    });
    if std::env::var_os("KLINES_FUZZ_TELL").is_some() {
        eprintln!("{ended:?}");
    }
    if let Err(Failure::Retry(message) | Failure::Fatal(message) | Failure::Crashed { message, .. }) = ended {
        assert!(is_sanitized(&message), "{message:?}");
    }
    drop(blueprint);
    assert!(since.elapsed() < TOO_LONG, "took {:?}", since.elapsed());
    home.clean();
}

/// Returns whether a text is safe for a terminal and of bounded length.
fn is_sanitized(text: &str) -> bool {
    text.len() < 8_192 && !text.chars().any(char::is_control)
}

fn kline(window: i64) -> Kline {
    let price = Decimal::parse("16578.5").expect("a price");
    Kline {
        series: SeriesId::new(Category::Linear, Symbol::new("BTCUSDT").expect("a name"), Interval::MINUTE),
        start: window * 60_000,
        end: window * 60_000 + 59_999,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: price,
        turnover: price,
        buy_volume: Decimal::ZERO,
        buy_turnover: Decimal::ZERO,
        price_decimals: 1,
        volume_decimals: 1,
        trades: 1,
        last_trade_time: window * 60_000,
        confirm: window < 2,
        revision: 0,
        quality: Quality::Complete,
        sequence: window.unsigned_abs() + 1,
        emitted: window * 60_000 + 60_080,
    }
}
