"""What a user does with an installed klines: asks for its version, runs the demo, connects a client, and stops it.

Knows nothing of how it was installed: a `Place` says how a command is run there.
"""

import json
import os
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field

from websockets.sync.client import connect

# A kline is promised within five seconds. A machine that is busy with something else may need longer; the time is printed.
PATIENCE = 60
USER, KEY = "tester", "0123456789abcdef0123456789abcdef"
TOPIC = "kline.1s.BTCUSDT"


@dataclass
class Place:
    """Where klines is installed."""

    # The words of a command line before the arguments of klines, for these variables.
    command: callable
    figures: dict = field(default_factory=dict)

    def start(self, arguments, variables=None):
        """Starts klines. Returns the process."""
        # Only what it is given: nothing of this machine's settings.
        words = self.command(variables or {}) + arguments.split()
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]}
        )

    def healthy(self):
        """Asserts that the run is found to be healthy, where something asks for that."""

    def ask(self, arguments):
        """Runs a command to its end. Returns its output."""
        out, err = (process := self.start(arguments)).communicate(timeout=PATIENCE)
        assert process.returncode == 0, f"{arguments}: {process.returncode}\n{out}{err}"
        return out


def free_port():
    """Returns a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Output:
    """The lines of a process so far."""

    def __init__(self, process):
        self.lines, self.errors, self.first = [], [], {}
        self.started = time.monotonic()
        self.threads = [
            threading.Thread(target=self._read, args=(process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(process.stderr, self.errors), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _read(self, stream, lines):
        for line in stream:
            lines.append((time.monotonic() - self.started, line.rstrip("\n")))

    def text(self):
        """Returns everything that was printed."""
        return "\n".join(line for _, line in self.lines + self.errors)

    def wait_for(self, mark):
        """Waits for a line with this mark. Returns the seconds until it was printed."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for when, line in self.lines + self.errors:
                if mark in line:
                    return when
            time.sleep(0.01)
        raise AssertionError(f"no line has {mark!r}:\n{self.text()}")

    def finish(self):
        """Waits for the end of the output."""
        for thread in self.threads:
            thread.join(PATIENCE)


def listen(port, enough, seen):
    """Logs in, subscribes, and collects confirmed klines until the server says that it ends."""
    with connect(f"ws://127.0.0.1:{port}/v1/stream", open_timeout=PATIENCE) as client:
        client.send(json.dumps({"op": "auth", "user": USER, "key": KEY}))
        client.send(json.dumps({"op": "subscribe", "id": 1, "topics": [TOPIC]}))
        for message in map(json.loads, client):
            assert message.get("ok", True), message
            if message.get("type") == "kline" and message["data"]["confirm"]:
                seen.append(message["seq"])
                if len(seen) >= 3:
                    enough.set()
            if message.get("type") == "shutdown":
                return


def assert_sound(seen, output):
    """Asserts that the client saw every kline and that no consumer lost one."""
    assert seen == list(range(seen[0], seen[0] + len(seen))), f"a hole: {seen}"
    for consumer in ("console", "websocket"):
        summary = [line for _, line in output.errors if line.startswith(f"{consumer}: ")]
        assert len(summary) == 1 and "delivered" in summary[0] and " lost (" not in summary[0], output.text()


def travel(place, version):
    """Makes the whole journey. Returns the figures."""
    begin = time.monotonic()
    said = place.ask("--version").strip()
    place.figures["version"] = time.monotonic() - begin
    assert said.startswith(f"klines {version} ("), said
    port = free_port()
    variables = {"WSS_AUTH_USER": USER, "WSS_AUTH_KEY": KEY, "WEBSOCKET_PORT": str(port)}
    process = place.start("run --demo --intervals 1s --consumers console,websocket", variables)
    output = Output(process)
    try:
        place.figures["kline"] = output.wait_for("✓")
        enough, seen = threading.Event(), []
        client = threading.Thread(target=listen, args=(port, enough, seen))
        client.start()
        assert enough.wait(PATIENCE), f"the client saw {seen}\n{output.text()}"
        place.healthy()
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(PATIENCE)
        place.figures["stop"] = time.monotonic() - begin
        client.join(PATIENCE)
        output.finish()
        assert code == 0, f"it ended with {code}\n{output.text()}"
        assert_sound(seen, output)
    finally:
        if process.poll() is None:
            process.kill()
    return said
