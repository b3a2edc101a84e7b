"""Runs klines against a simulated exchange with faults under a real Prometheus: every alert of `deploy/` fires and resolves, and
every panel's query returns data. Takes the programs `klines` and `prometheus`, and by what the durations of the alerts are
divided (1 takes a quarter of an hour, 20 two minutes)."""

import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dashboard
from prometheus import Prometheus
from relay import Relay

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
COMPONENTS = ROOT / "target/components"
PATIENCE = 120

KLINES, PROMETHEUS, FACTOR = Path(sys.argv[1]).resolve(), sys.argv[2], float(sys.argv[3])
started = []


def start(arguments, folder, log, environment=None, before=()):
    with open(Path(folder, log), "ab") as file:
        process = subprocess.Popen([*before, *arguments], cwd=folder, env={"PATH": os.environ["PATH"], **(environment or {})},
                                   stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    started.append(process)
    return process


def eventually(what, probe, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while not (found := probe()):
        assert time.monotonic() < deadline, f"never seen in {patience:.0f} s: {what}"
        time.sleep(0.2)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def simulate(folder, name, script):
    Path(folder, f"{name}.txt").write_text(script)
    port = free_port()
    start([KLINES, "simulate", "--listen", f"127.0.0.1:{port}", "--script", f"{name}.txt"], folder, f"{name}.log")
    eventually(f"the exchange {name}", lambda: is_open(port))
    return port


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Receiver(BaseHTTPRequestHandler):
    """Takes what the webhook sends."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Run:
    """A `klines run` with metrics on a port of its own."""

    def __init__(self, folder, config):
        self.home = Path(folder)
        self.home.mkdir()
        self.metrics = f"127.0.0.1:{free_port()}"
        self.config = config
        self.write(config)
        self.begin()

    def write(self, config):
        Path(self.home, "klines.toml").write_text(f'{config}\n[metrics]\nlisten = "{self.metrics}"\n')

    def begin(self):
        # A file that grows beyond its limit is to be an error, as on a full disk, and not the end.
        ignoring = ["sh", "-c", "trap '' XFSZ; exec \"$0\" \"$@\""]
        key = {"WSS_AUTH_USER": "u", "WSS_AUTH_KEY": os.urandom(32).hex(), "LOG_FORMAT": "json"}
        self.process = start([KLINES, "run"], self.home, "run.log", key, before=ignoring)
        eventually("metrics", lambda: is_open(int(self.metrics.rpartition(":")[2])))

    def command(self, *arguments):
        done = subprocess.run([KLINES, *arguments], cwd=self.home, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"

    def limit_files(self, limit):
        subprocess.run(["prlimit", "--pid", str(self.process.pid), f"--fsize={limit}:"], check=True)

    def log(self):
        return Path(self.home, "run.log").read_text(errors="replace")


def configuration(streams, rest, redis, receiver):
    """A run with consumers of every kind, one of which crashes."""
    return f"""
enabled_consumers = ["websocket", "redis", "slow", "crashing", "webhook"]
[klines]
intervals = ["100ms", "1s", "1m"]
[exchange]
ws_url = "ws://127.0.0.1:{streams}"
rest_url = "http://127.0.0.1:{rest}"
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
[websocket]
port = 0
[redis]
url = "redis://127.0.0.1:{redis}"
stream = "klines:stream"
[consumers.slow]
component = "{COMPONENTS}/average.wasm"
limits.queue = 64
[consumers.crashing]
component = "{COMPONENTS}/hostile.wasm"
settings.mode = "panic-consume"
[consumers.webhook]
settings.url = "http://127.0.0.1:{receiver}/"
allow.http = [{{ host = "127.0.0.1", port = {receiver}, methods = ["POST"], plain = true, private = true }}]
"""


def redis_server(folder, port):
    process = start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder], folder, "redis.log")
    eventually("redis", lambda: is_open(port))
    return process


class Story:
    """The faults, one after the other, and the alerts that they make fire and resolve."""

    def __init__(self, folder):
        self.folder = folder
        self.prometheus = Prometheus(PROMETHEUS, folder, DEPLOY, FACTOR)
        started.append(self.prometheus.process)
        self.exchange, self.banning = simulate(folder, "exchange", ""), simulate(folder, "banning", "at 0s rest too-frequent\n")
        self.streams, self.rest, self.other = Relay(self.exchange), Relay(self.exchange), Relay(self.exchange)
        receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        self.redis_port = free_port()
        self.redis = redis_server(folder, self.redis_port)
        config = configuration(self.streams.port, self.rest.port, self.redis_port, receiver.server_address[1])
        self.run = Run(Path(folder, "run"), config)
        unrepaired = (f'enabled_consumers = ["console"]\nklines.repair = "0s"\nklines.intervals = ["1s"]\n[exchange]\nfeeds = 1\n'
                      f'symbols = ["BTCUSDT"]\nws_url = "ws://127.0.0.1:{self.other.port}"\nrest_url = "http://127.0.0.1:{self.exchange}"')
        self.unrepaired = Run(Path(folder, "unrepaired"), unrepaired)
        self.prometheus.targets([self.run.metrics, self.unrepaired.metrics])
        self.seen = {}

    def fires(self, *alerts):
        for alert in alerts:
            eventually(f"{alert} fires", lambda: alert in self.prometheus.firing(), PATIENCE + 700 / FACTOR)
            print(f"  {alert} fires", flush=True)
            self.seen[alert] = time.monotonic()

    def resolves(self, *alerts):
        for alert in alerts:
            eventually(f"{alert} resolves", lambda: alert not in self.prometheus.firing(), PATIENCE + 1_000 / FACTOR)
            print(f"  {alert} resolves after {time.monotonic() - self.seen[alert]:.0f} s", flush=True)

    def tell(self):
        print("-- a consumer that crashes", flush=True)
        self.fires("KlinesConsumerGone", "KlinesConsumerCrashes")
        self.run.write(self.run.config.replace('"crashing", ', ""))
        self.run.command("reload")
        self.resolves("KlinesConsumerGone", "KlinesConsumerCrashes")

        print("-- one of two connections", flush=True)
        self.streams.is_refusing = True
        self.streams.cut(1)
        self.fires("KlinesFeedNotRedundant")
        self.streams.is_refusing = False
        self.resolves("KlinesFeedNotRedundant")

        print("-- a consumer that does not keep up", flush=True)
        self.run.command("consumer", "pause", "slow")
        self.fires("KlinesConsumerBehind", "KlinesLost")
        self.run.command("consumer", "resume", "slow")
        self.resolves("KlinesConsumerBehind", "KlinesLost")

        print("-- Redis is away", flush=True)
        self.redis.kill()
        self.redis.wait()
        self.fires("KlinesRedisDisconnected", "KlinesRedisBacklog")
        self.redis = redis_server(self.folder, self.redis_port)
        self.resolves("KlinesRedisDisconnected", "KlinesRedisBacklog")

        print("-- a full disk", flush=True)
        self.run.limit_files(4096)
        self.fires("KlinesStoreFailing")
        self.run.limit_files("unlimited")
        self.resolves("KlinesStoreFailing")

        print("-- a feed without a word", flush=True)
        held = threading.Thread(target=self.streams.hold, args=(8 + 30 / FACTOR,))
        held.start()
        self.fires("KlinesFeedSilent")
        held.join()
        self.resolves("KlinesFeedSilent")

        print("-- gaps that nobody repairs, and an exchange that bans", flush=True)
        self.rest.target = self.banning
        self.rest.cut()
        self.streams.cut()
        self.other.cut()
        self.fires("KlinesGapUnknown", "KlinesExchangeBan", "KlinesRepairSlow")
        self.rest.target = self.exchange
        self.rest.cut()

        print("-- the end of the process, and the next one", flush=True)
        self.run.process.send_signal(signal.SIGKILL)
        self.run.process.wait()
        self.fires("KlinesDown")
        self.run.begin()
        self.resolves("KlinesDown", "KlinesExchangeBan", "KlinesRepairSlow", "KlinesGapUnknown")

    def check_alerts(self):
        never = [alert for alert in self.prometheus.alerts if alert not in self.seen]
        assert not never, f"alerts that never fired: {never}"
        # With durations that are FACTOR times shorter, a second without a trade is enough for the alert of a silent feed: it may
        # fire for a moment. What fires without a reason goes on.
        eventually("no alert fires when nothing is wrong", lambda: not self.prometheus.firing())

    def check_panels(self):
        described = dashboard.read(DEPLOY / "grafana/dashboards/klines.json")
        print(f"{'panel':<26} {'series':>6} {'greatest':>12}  query")
        for title, query in dashboard.queries(described, "20s"):
            found = self.prometheus.range(query)
            values = [float(value) for series in found for _, value in series["values"]]
            values = [value for value in values if math.isfinite(value)]
            assert values, f"the panel {title} has no data: {query}"
            print(f"{title:<26} {len(found):>6} {max(values):>12.4g}  {query}")


def main():
    folder = tempfile.mkdtemp(prefix="klines-deploy-")
    try:
        story = Story(folder)
        story.tell()
        story.check_alerts()
        story.check_panels()
        story.run.process.terminate()
        code = story.run.process.wait(PATIENCE)
        assert code == 0, f"the run ended with {code}: {story.run.log()[-4_000:]}"
        print(f"{len(story.prometheus.alerts)} alerts fired and resolved")
    except BaseException:
        for log in sorted(Path(folder).rglob("*.log")):
            print(f"-- the end of {log}", *log.read_text(errors="replace").splitlines()[-25:], sep="\n", file=sys.stderr)
        raise
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


main()
