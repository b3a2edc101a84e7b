"""Consumers of all languages in one run: each gets every closed kline, and none is restarted.

`KLINES_MIXED_SECONDS` is the length in seconds (default 30). The memory of each consumer is printed too.
"""

import json
import os
import re
import sys
import threading
import time

from places import ROOT, Run, eventually, folder, typed

sys.path.append(str(ROOT / "runtime/tests/clients"))

LANGUAGES = ["rust", "python", "javascript", "c", "go"]
SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
INTERVALS = ["100ms", "1s", "5s"]
KEY = "a-key-of-this-test-alone-0123456789"
# The average exists from the second kline on, so that nearly every kline has a value.
CONSUMER = """
[consumers.{name}]
component = "{name}.wasm"
settings = {{ period = 2 }}
limits = {{ compile_time = "5m" }}
"""


class Listener:
    """Subscribes to every kline and every average on its own connection."""

    def __init__(self, port):
        from wire import Wire

        self.stream = Wire(port, headers={"Authorization": f"Bearer {KEY}"})
        series = [f"{interval}.{symbol}" for interval in INTERVALS for symbol in SYMBOLS]
        topics = [f"kline.{one}" for one in series] + [f"ext.{name}.sma.{one}" for name in LANGUAGES for one in series]
        self.series, self.epochs, self.ended = series, {}, None
        # By topic, then start: the first value of each window.
        self.seen = {topic: {} for topic in topics}
        self.stream.say({"op": "subscribe", "topics": topics})
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        from wire import CLOSE, PING, PONG, TEXT, code_of, frame

        while True:
            try:
                opcode, payload = self.stream.read()
            except (EOFError, OSError) as error:
                self.ended = repr(error)
                return
            if opcode == PING:
                self.stream.send(frame(PONG, payload))
            elif opcode == CLOSE:
                self.ended = f"closed with {code_of(payload)}"
                return
            elif opcode == TEXT:
                self._take(json.loads(payload))

    def _take(self, message):
        if message.get("type") in ("kline", "value") and message["data"]["confirm"]:
            topic, data = message["topic"], message["data"]
            if self.epochs.setdefault(topic, message["epoch"]) != message["epoch"]:
                self.ended = f"{topic} began a new epoch"
            self.seen[topic].setdefault(data["start"], float(data.get("close", data.get("value"))))

    def missing(self, wanted):
        """Returns the averages of the wanted windows that have not come yet."""
        return [(name, one, start) for name in LANGUAGES for one, starts in wanted.items() for start in starts
                if start not in self.seen[f"ext.{name}.sma.{one}"]]


def together():
    """five languages and the console get every closed kline, and all averages agree"""
    seconds = int(os.environ.get("KLINES_MIXED_SECONDS", "30"))
    home = folder / "mixed"
    home.mkdir()
    for name in LANGUAGES:
        built = folder / "new" / name / "demo/demo.wasm"
        if not built.exists():
            project = folder / "mixed-projects" / name
            project.mkdir(parents=True)
            typed(f"klines consumer new demo --lang {name}", project, name)
            typed("klines consumer build", project / "demo", name)
            built = project / "demo/demo.wasm"
        home.joinpath(f"{name}.wasm").write_bytes(built.read_bytes())
    home.joinpath("klines.toml").write_text(
        f"[exchange]\nsymbols = {SYMBOLS}\n[klines]\nintervals = {INTERVALS}\n".replace("'", '"')
        + '[websocket]\nport = 0\n[consumers.console.settings]\nshow = "closed"\n'
        + "".join(CONSUMER.format(name=name) for name in LANGUAGES)
    )
    # The demo uses the variables of the consumers that the flag names.
    enabled = ",".join(["console", "websocket", *LANGUAGES])
    run = Run(home, "--consumers", enabled, WSS_AUTH_USER="tester", WSS_AUTH_KEY=KEY)
    listener = Listener(run.address("serving klines"))
    ends, memory = time.monotonic() + seconds, []
    while time.monotonic() < ends:
        time.sleep(min(5, max(0.1, ends - time.monotonic())))
        memory.append({name: run.metric("klines_consumer_memory_bytes", name) for name in LANGUAGES})
    assert listener.ended is None, listener.ended
    # Every window that has closed by now, except the first two of each series.
    closed = {one: sorted(listener.seen[f"kline.{one}"]) for one in listener.series}
    wanted = {one: starts[2:] for one, starts in closed.items()}
    assert sum(map(len, wanted.values())) >= seconds, wanted
    try:
        eventually("every average", lambda: not listener.missing(wanted), patience=30)
    except AssertionError:
        raise AssertionError(f"never seen: {listener.missing(wanted)[:20]}") from None
    for one, starts in wanted.items():
        for start in starts:
            values = [listener.seen[f"ext.{name}.sma.{one}"][start] for name in LANGUAGES]
            assert max(values) - min(values) <= 1e-9 * max(values), f"{one} {start}: {dict(zip(LANGUAGES, values))}"
    log = run.stop()
    counts = dict(re.findall(r"^(\w+): (\d+) klines? delivered \(stopped\)$", log, re.MULTILINE))
    assert set(counts) >= {"console", *LANGUAGES}, log[-3000:]
    assert len({counts[name] for name in ["console", *LANGUAGES]}) == 1, counts
    print(f"  {counts['console']} klines each in {seconds} s, {sum(map(len, wanted.values()))} averages the same in all")
    megabytes = lambda sample, name: f"{sample[name] / 2**20:.1f}"
    for name in LANGUAGES:
        middle = memory[len(memory) // 2]
        print(f"  {name}: {megabytes(memory[0], name)}, {megabytes(middle, name)}, {megabytes(memory[-1], name)} MiB at the beginning, in the middle, at the end")


TESTS = [together]
