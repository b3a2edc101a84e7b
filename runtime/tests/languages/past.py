"""An index in several languages is right from its first batch: one that has just started has the values of one that ran all
day."""

import atexit
import json
import re
import shutil
import subprocess
import sys
import threading

from places import ROOT, Run, environment, eventually, folder, program, typed

sys.path.append(str(ROOT / "runtime/tests/clients"))

LANGUAGES = ["rust", "python", "typescript"]
SYMBOLS = ["BTCUSDT", "ETHUSDT"]
KEY = "a-key-of-this-test-alone-0123456789"
CONSUMER = """
[consumers.{name}]
component = "{language}.wasm"
settings = {{ symbols = ["BTCUSDT", "ETHUSDT"], intervals = ["1s"], period = 5 }}
limits = {{ compile_time = "5m"{more} }}
"""
# How many instances of each language have to begin in the course of the run.
INSTANCES = 10


class Values:
    """The confirmed values of every consumer: by consumer, then by symbol, start and revision."""

    def __init__(self, port, names):
        from wire import Wire

        self.stream = Wire(port, headers={"Authorization": f"Bearer {KEY}"})
        self.seen, self.ended = {name: {} for name in names}, None
        topics = [f"ext.{name}.rsi.1s.{symbol}" for name in names for symbol in SYMBOLS]
        self.stream.say({"op": "subscribe", "topics": topics})
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        from wire import CLOSE, PING, PONG, TEXT, frame

        while True:
            try:
                opcode, payload = self.stream.read()
            except (EOFError, OSError) as error:
                self.ended = repr(error)
                return
            if opcode == PING:
                self.stream.send(frame(PONG, payload))
            elif opcode == CLOSE:
                self.ended = "closed"
                return
            elif opcode == TEXT:
                self._take(json.loads(payload))

    def _take(self, message):
        if message.get("type") == "value" and message["data"]["confirm"]:
            _, name, _, _, symbol = message["topic"].split(".")
            data = message["data"]
            self.seen[name][symbol, data["start"], data["revision"]] = float(data["value"])


def exchange():
    """Starts a simulated exchange and returns the variables with its addresses."""
    process = subprocess.Popen(
        [program, "simulate", "--listen", "127.0.0.1:0", "--seed", "7"], env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    atexit.register(process.kill)
    said, found = "", None
    while not found:
        line = process.stdout.readline()
        assert line, f"the exchange ended: {said}"
        said += line
        found = re.search(r"BYBIT_WS_URL=(\S+) BYBIT_REST_URL=(\S+)", said)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return {"BYBIT_WS_URL": found[1], "BYBIT_REST_URL": found[2]}


def from_the_first_batch_on():
    """an index in Rust, Python and TypeScript whose instance is renewed every two calls has the values of one that ran all day"""
    home = folder / "past"
    home.mkdir()
    for language in LANGUAGES:
        project = ROOT / "examples" / f"rsi-{language}"
        if language != "rust":
            project = folder / "past-projects" / language
            ignored = shutil.ignore_patterns("build", "*.wasm")
            shutil.copytree(ROOT / "examples" / f"rsi-{language}", project, ignore=ignored)
        typed("klines consumer build", project, language)
        shutil.copy(project / "rsi.wasm", home / f"{language}.wasm")
    names = ["day", *LANGUAGES]
    home.joinpath("klines.toml").write_text(
        f"[exchange]\nsymbols = {SYMBOLS}\n".replace("'", '"')
        + '[klines]\nintervals = ["1s"]\nrepair = "0s"\n[websocket]\nport = 0\n'
        + CONSUMER.format(name="day", language="rust", more="")
        + "".join(CONSUMER.format(name=name, language=name, more=", recycle_calls = 2") for name in LANGUAGES)
    )
    enabled = ",".join(["console", "websocket", *names])
    run = Run(home, "--consumers", enabled, on=(), WSS_AUTH_USER="tester", WSS_AUTH_KEY=KEY, **exchange())
    listener = Values(run.address("serving klines"), names)
    recycled = lambda name: run.said("consumer is recycled and gets a fresh instance", name)
    for name in LANGUAGES:
        eventually(f"instances of {name}", lambda: len(recycled(name)) >= INSTANCES)
    newest = max(listener.seen["day"])
    for name in LANGUAGES:
        eventually(f"the last values of {name}", lambda: newest in listener.seen[name])
    assert listener.ended is None, listener.ended
    day = dict(listener.seen["day"])
    for name in LANGUAGES:
        values = {key: value for key, value in dict(listener.seen[name]).items() if key in day}
        differs = {key: (value, day[key]) for key, value in values.items() if value != day[key]}
        assert not differs, f"{name}: {differs}"
        first = {symbol: min(key for key in values if key[0] == symbol) for symbol in SYMBOLS}
        missing = [key for key in day if first[key[0]] <= key <= newest and key not in values]
        assert not missing, f"{name}: {missing}"
        print(f"  {name}: {len(values)} values of {len(recycled(name)) + 1} instances are those of the one that ran all day")
    run.stop()


TESTS = [from_the_first_batch_on]
