"""The alert of every language (`klines consumer new --http`): what it sends to a server on loopback, and its errors."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from places import LANGUAGES, Run, eventually, folder, typed

SECRET = "a-secret-of-this-test-0123456789"
# Three consumers of each component: one with the grant, one without it, and one whose server does not exist.
CONSUMER = """
[consumers.{kind}-{language}]
component = "{language}.wasm"
settings = {{ url = "http://127.0.0.1:{port}/{language}?kind={kind}", percent = 0.001 }}
limits = {{ compile_time = "5m", call = "10s" }}
"""
GRANT = """
[consumers.{kind}-{language}.allow]
http = [{{ host = "127.0.0.1", port = {port}, methods = ["POST"], plain = true, private = true }}]
secrets = [{{ variable = "HOOK_TOKEN", header = "authorization", prefix = "Bearer ", host = "127.0.0.1" }}]
"""
# More requests than a component may have handles (1,000), with answers that are repeated.
MANY = """
settings = { url = "https://hooks.example.com/alerts", percent = 0.001 }
env = { HOOK_TOKEN = "a token" }
[input]
market = { seed = 7, seconds = 800, symbols = ["BTCUSDT", "ETHUSDT"] }
intervals = ["1s"]
[[http]]
url = "https://hooks.example.com/alerts"
times = 1100
[[http]]
url = "https://hooks.example.com/alerts"
status = 429
times = 50
[[http]]
url = "https://hooks.example.com/alerts"
[expect]
no_log = ["error", "a token"]
"""
# The same requests with a crate that knows WASI, instead of the helper.
WSTD = """
fn post(url: &str, value: &serde_json::Value) -> Result<u16, String> {
    use wstd::http::{Body, Client, Error, Request};

    let mut client = Client::new();
    client.set_connect_timeout(std::time::Duration::from_millis(400));
    client.set_first_byte_timeout(std::time::Duration::from_millis(400));
    let request = Request::post(url).header("content-type", "application/json").body(Body::from(value.to_string()));
    let response = wstd::runtime::block_on(async { client.send(request.map_err(Error::from)?).await });
    response.map(|response| response.status().as_u16()).map_err(|error| format!("POST {url}: {error}"))
}
"""


class Server:
    """Answers the first request to each path with 503 and all others with 204, and keeps what it received."""

    def __init__(self):
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                first = all(path != self.path for path, _, _ in outer.requests)
                outer.requests.append((self.path, self.headers, body))
                self.send_response(503 if first else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def of(self, path):
        return [(headers, body) for found, headers, body in list(self.requests) if found == path]


def project(language):
    """Returns the folder of a project that was made and built as its first page says."""
    home = folder / "alerts" / language
    if not home.exists():
        home.mkdir(parents=True)
        typed(f"klines consumer new alert --lang {language} --http", home, language)
        typed("klines consumer build", home / "alert", language)
    return home / "alert"


def cases():
    """the alert of each language passes its cases, and closes every handle"""
    for language in LANGUAGES:
        alert = project(language)
        alert.joinpath("tests/many.toml").write_text(MANY)
        said, _ = typed("klines consumer test", alert, language)
        assert "4 cases: 4 passed, 0 failed" in said, said
        size = alert.joinpath("alert.wasm").stat().st_size
        print(f"  {language}: {size // 1000} KB")


def delivered():
    """six languages post with a secret header to a server on loopback; without a grant or a server they say why"""
    home = folder / "webhooks"
    home.mkdir()
    server = Server()
    config = '[exchange]\nsymbols = ["BTCUSDT", "ETHUSDT"]\n[klines]\nintervals = ["1s"]\n'
    names = []
    for language in LANGUAGES:
        home.joinpath(f"{language}.wasm").write_bytes(project(language).joinpath("alert.wasm").read_bytes())
        for kind, port in [("granted", server.port), ("denied", server.port), ("absent", 1)]:
            names.append(f"{kind}-{language}")
            config += CONSUMER.format(kind=kind, language=language, port=port)
            if kind != "denied":
                config += GRANT.format(kind=kind, language=language, port=port)
    home.joinpath("klines.toml").write_text(config)
    run = Run(home, "--consumers", ",".join(names), HOOK_TOKEN=SECRET)
    for language in LANGUAGES:
        path = f"/{language}?kind=granted"
        eventually(f"alerts of {language}", lambda: len(server.of(path)) > 2)
        (headers, first), (_, second), *_ = server.of(path)
        assert headers["authorization"] == f"Bearer {SECRET}", f"{language}: {headers}"
        assert headers["user-agent"] == "alert" and headers["content-type"] == "application/json", f"{language}: {headers}"
        text = json.loads(first)["text"]
        for line in text.split("\n"):
            symbol, interval, direction, percent, sign = line.split(" ")
            assert symbol in ("BTCUSDT", "ETHUSDT") and (interval, sign) == ("1s", "%"), f"{language}: {line}"
            assert direction in ("rose", "fell") and float(percent) >= 0, f"{language}: {line}"
        assert first == second, f"{language}: after 503 the same alerts come again: {first} {second}"
        denied = eventually(f"{language} denied", lambda: reasons(run, f"denied-{language}", "is not granted"))
        assert not server.of(f"/{language}?kind=denied"), f"{language} sent a request without a grant"
        absent = eventually(f"{language} without a server", lambda: reasons(run, f"absent-{language}", "refused"))
        print(f"  {language}: {len(server.of(path))} requests; {denied[0]}; {absent[0]}")
    # Asked to end, it would wait for the consumers without a server, and report their klines as lost.
    run.process.kill()
    run.process.wait()
    log = run.log.read_text()
    assert SECRET not in log, "the secret is in the log"
    line = f'http = [{{ host = "127.0.0.1", port = {server.port}, methods = ["POST"], plain = true, private = true }}]'
    denials = [message for message in run.said("http request denied") if line in message]
    assert len(denials) == len(LANGUAGES), log


def reasons(run, name, words):
    """Returns the errors in the log about a consumer that contain these words."""
    errors = [line.get("error", "") for line in run.lines() if line.get("consumer") == name]
    return [error for error in errors if words in error.lower()]


def crates():
    """a Rust consumer sends the same with wstd, a crate for WASI, without the helper"""
    alert = project("rust")
    source, manifest = alert / "src/lib.rs", alert / "Cargo.toml"
    code, _, _ = source.read_text().partition("/// `cargo test` runs")
    begin = code.index("http::post(url)")
    call = code[begin : code.index("?;", begin)]
    value = call[call.index("&json!") : -1]
    code = code.replace(call, f"post(url, {value}).map_err(Failure::retry)").replace("http, info", "info")
    source.write_text(code + WSTD)
    manifest.write_text(manifest.read_text().replace(', features = ["http"]', "") + '\n[dependencies.wstd]\nversion = "=0.6.8"\n')
    typed("klines consumer build", alert, "rust")
    for case in ("basic", "later", "many"):
        typed(f"klines consumer test --case {case}", alert, "rust")


def hints():
    """what imports wasi:http without `http = true` is told to set it"""
    for language, words in [("python", "outgoing_handler"), ("javascript", "host:http/outgoing-handler"), ("go", "wasi_http_types"), ("c", "wasi_http_types")]:
        home = folder / "hints" / language
        home.mkdir(parents=True)
        typed(f"klines consumer new alert --lang {language} --http", home, language)
        manifest = home / "alert/consumer.toml"
        manifest.write_text(manifest.read_text().replace("http = true", "http = false"))
        said, _ = typed("klines consumer build", home / "alert", language, code=1)
        assert words in said and "set `http = true` in consumer.toml" in said, f"{language}: {said}"
        print(f"  {language}: {said.strip().splitlines()[-1]}")


TESTS = [cases, delivered, crates, hints]
