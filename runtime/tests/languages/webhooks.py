"""The alert of every language (`klines consumer new --http`): what it sends to a server on loopback, and its errors."""

import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from places import LANGUAGES, Run, eventually, folder, typed

SECRET = "a-secret-of-this-test-0123456789"
# Five consumers of each component: one with the grant, one without it, one whose server does not exist, one whose server
# needs most of the time limit, and one whose server needs longer.
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
# More requests without a response than the component may have handles; Python itself has some dozens.
FAILING = """
settings = { url = "https://hooks.example.com/alerts", percent = 0.5 }
env = { HOOK_TOKEN = "a token" }
limits = { handles = 60, compile_time = "5m" }
[input]
klines = "klines.ndjson"
[expect]
ends = "retry"
"""
# What cannot be the URL of a request.
PASSWORD = "a-password-of-this-test-0123456789"
REFUSED = {
    "hooks.example.com/x": "does not begin with https:// or http://",
    "": "does not begin with https:// or http://",
    "ftp://h/x": "does not begin with https:// or http://",
    "https:///x": "has no host",
    "https://h/a b": "has a #, a blank or a character that is not ASCII",
    "https://h/#x": "has a #, a blank or a character that is not ASCII",
    "https://hé/x": "has a #, a blank or a character that is not ASCII",
    f"https://user:{PASSWORD}@h/x": "has a login: put the header `authorization` into `allow.secrets`",
}
# The same requests with a crate that knows WASI, instead of the helper.
WSTD = """
fn post(url: &str, key: &str, value: &serde_json::Value) -> Result<u16, String> {
    use wstd::http::{Body, Client, Error, Request};

    let mut client = Client::new();
    client.set_connect_timeout(std::time::Duration::from_millis(400));
    client.set_first_byte_timeout(std::time::Duration::from_millis(400));
    let request = Request::post(url).header("content-type", "application/json").header("idempotency-key", key);
    let request = request.body(Body::from(value.to_string()));
    let response = wstd::runtime::block_on(async { client.send(request.map_err(Error::from)?).await });
    response.map(|response| response.status().as_u16()).map_err(|error| format!("POST {url}: {error}"))
}
"""


# How long the server waits, by the end of the path; a request may take 800 ms.
PAUSES = {"slow": 0.6, "late": 2}


class Server:
    """Answers the first request to each path with 503 and all others with 204, and keeps what it received. Is slow on paths
    that end with `slow` or `late`, and accepts everything there."""

    def __init__(self):
        self.requests = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                first = all(path != self.path for path, _, _ in outer.requests)
                outer.requests.append((self.path, self.headers, body))
                pause = next((seconds for end, seconds in PAUSES.items() if self.path.endswith(end)), 0)
                time.sleep(pause)
                self.send_response(503 if first and not pause else 204)
                self.send_header("content-length", "0")
                try:
                    self.end_headers()
                except OSError:
                    assert pause, "the client closed the connection"

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
        alert.joinpath("tests/failing.toml").write_text(FAILING)
        said, _ = typed("klines consumer test", alert, language)
        assert "7 cases: 7 passed, 0 failed" in said, said
        size = alert.joinpath("alert.wasm").stat().st_size
        print(f"  {language}: {size // 1000} KB")


def delivered():
    """six languages post with a secret header to a server on loopback; without a grant, a server or time they say why"""
    home = folder / "webhooks"
    home.mkdir()
    server = Server()
    config = '[klines]\nintervals = ["1s"]\n'
    names = []
    for language in LANGUAGES:
        home.joinpath(f"{language}.wasm").write_bytes(project(language).joinpath("alert.wasm").read_bytes())
        for kind in ("granted", "denied", "absent", *PAUSES):
            port = 1 if kind == "absent" else server.port
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
        bodies = eventually(f"a second batch of {language}", lambda: more_than_one(by_key(server.of(path))))
        assert server.of(path)[1][0]["idempotency-key"] == headers["idempotency-key"], f"{language}: {bodies}"
        key, *_ = bodies
        assert re.fullmatch(r"(linear|0)-(BTC|ETH|SOL)USDT-1s-\d+000-\d+", key), f"{language}: {key}"
        assert all(len(same) == 1 for same in bodies.values()), f"{language}: a key of different alerts: {bodies}"
        assert headers["user-agent"] == "alert" and headers["content-type"] == "application/json", f"{language}: {headers}"
        text = json.loads(first)["text"]
        for line in text.split("\n"):
            symbol, interval, direction, percent, sign = line.split(" ")
            assert symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT") and (interval, sign) == ("1s", "%"), f"{language}: {line}"
            assert direction in ("rose", "fell") and float(percent) >= 0, f"{language}: {line}"
        assert first == second, f"{language}: after 503 the same alerts come again: {first} {second}"
        denied = eventually(f"{language} denied", lambda: reasons(run, f"denied-{language}", "is not granted"))
        assert not server.of(f"/{language}?kind=denied"), f"{language} sent a request without a grant"
        absent = eventually(f"{language} without a server", lambda: reasons(run, f"absent-{language}", "refused"))
        eventually(f"{language} with a slow server", lambda: run.said("alerts sent", f"slow-{language}"))
        late = eventually(f"{language} with a late server", lambda: reasons(run, f"late-{language}", "no response in 800 ms"))
        print(f"  {language}: {len(server.of(path))} requests; {key}; {denied[0]}; {absent[0]}; {late[0]}")
    # Asked to end, it would wait for the consumers without a server, and report their klines as lost.
    run.process.kill()
    run.process.wait()
    log = run.log.read_text()
    assert SECRET not in log, "the secret is in the log"
    named = [line for line in log.splitlines() for language in LANGUAGES if f"/{language}?" in line]
    assert not named, f"the path of an address is in the log: {named}"
    line = f'http = [{{ host = "127.0.0.1", port = {server.port}, methods = ["POST"], plain = true, private = true }}]'
    denials = [message for message in run.said("http request denied") if line in message]
    assert len(denials) == len(LANGUAGES), log


def by_key(requests):
    """Returns the idempotency keys of requests in their order, each with its different bodies."""
    found = {}
    for headers, body in requests:
        found.setdefault(headers["idempotency-key"], set()).add(body)
    return found


def more_than_one(found):
    return found if len(found) > 1 else None


def reasons(run, name, words):
    """Returns the errors in the log about a consumer that contain these words."""
    errors = [line.get("error", "") for line in run.lines() if line.get("consumer") == name]
    return [error for error in errors if words in error.lower()]


def refused():
    """`klines check` reports each URL that cannot be used at its key, in every language, and shows no login"""
    for language in LANGUAGES:
        home = folder / "refused" / language
        home.joinpath("klines-data").mkdir(parents=True)
        home.joinpath("alert.wasm").write_bytes(project(language).joinpath("alert.wasm").read_bytes())
        urls = {**REFUSED, **({f"https://h/{'x' * 502}": "has 512 bytes"} if language == "c" else {})}
        config = f'[consumers.alert]\ncomponent = "alert.wasm"\nlimits = {{ compile_time = "5m" }}\n[consumers.alert.settings]\n'
        for url, wrong in urls.items():
            home.joinpath("klines.toml").write_text(config + f'url = "{url}"\n')
            said, _ = typed("klines check --config klines.toml --consumers alert", home, code=78)
            assert "`settings.url`" in said and wrong in said, f"{language}: {url}: {said}"
            assert PASSWORD not in said, f"{language}: {said}"
        print(f"  {language}: {len(urls)} refused")


def crates():
    """a Rust consumer sends the same with wstd, a crate for WASI, without the helper"""
    alert = project("rust")
    source, manifest = alert / "src/lib.rs", alert / "Cargo.toml"
    code, _, _ = source.read_text().partition("/// `cargo test` runs")
    for pattern, instead in [
        (r"let request = http::post\(url\).*;", ""),
        (r"request\.json\((.*)\)\?;", r"post(url, &key, \1).map_err(Failure::retry)?;"),
        (r"http::origin\(url\)", "url"),
        (r"http::check_url\(&settings\.url\)", "Ok::<(), String>(())"),
        (r"error, http, info", "error, info"),
    ]:
        code, count = re.subn(pattern, instead, code)
        assert count == 1, f"{count} times in the template: {pattern}"
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


TESTS = [cases, refused, delivered, crates, hints]
