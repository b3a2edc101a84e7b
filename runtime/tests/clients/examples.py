"""The programs of examples/clients: each follows the stream, is disconnected, and misses no message."""

import os
import subprocess
import sys
import threading

import service
from cutter import Cutter
from service import KEY, ROOT, USER, Klines, eventually

CLIENTS = ROOT / "examples/clients"
TOPICS = ["kline.1s.BTCUSDT", "kline.1s.ETHUSDT", "ext.mine.fast.1s.BTCUSDT"]
# The Rust example, which emits an average.
MINE = f"""
[consumers.mine]
component = "{ROOT}/target/components/example.wasm"
settings = {{ period = 2, fast = 2, slow = 3 }}
"""


def programs():
    """Builds the programs and returns the command of each, by name."""
    rust = ROOT / "target/clients/rust"
    # Only this crate, with its few dependencies.
    subprocess.run(["cargo", "build", "--locked", "--quiet", "-p", "stream-client", "--target-dir", rust], check=True, cwd=ROOT)
    return {
        "python": [sys.executable, CLIENTS / "stream.py"],
        # The flag is accepted and has no effect where Node.js has WebSocket by default.
        "javascript": ["node", "--experimental-websocket", CLIENTS / "stream.mjs"],
        "rust": [rust / "debug/stream-client"],
        "shell": [CLIENTS / "stream.sh"],
    }


class Client:
    """A running program, and what it has printed: values by topic and number."""

    def __init__(self, command, port):
        environment = {
            **os.environ, "KLINES_URL": f"ws://127.0.0.1:{port}/v1/stream", "KLINES_HOST": "127.0.0.1",
            "KLINES_PORT": str(port), "KLINES_USER": USER, "KLINES_KEY": KEY,
        }
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*command, *TOPICS], env=environment, stdout=pipe, stderr=pipe, text=True)
        self.seen = {topic: {} for topic in TOPICS}
        self.again, self.complaints = 0, []
        self.readers = [threading.Thread(target=read, daemon=True) for read in (self._values, self._words)]
        for reader in self.readers:
            reader.start()

    def _values(self):
        for line in self.process.stdout:
            topic, number, value = line.split(" ", 2)
            self.again += int(number) in self.seen[topic]
            self.seen[topic][int(number)] = float(value)

    def _words(self):
        for line in self.process.stderr:
            self.complaints.append(line.strip())

    def has(self, count):
        """Returns whether it has seen at least `count` messages of each topic."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.complaints}"
        return all(len(seen) >= count for seen in self.seen.values())

    def end(self):
        """Ends it and returns all that it has seen."""
        self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        return self.seen


def resumed():
    """each example resumes after a cut: no number is missing, none comes twice, and all agree"""
    commands = programs()
    with Klines("examples", MINE, consumers="websocket,mine") as klines:
        cutter = Cutter(klines.port)
        clients = {name: Client(command, cutter.port) for name, command in commands.items()}
        eventually("klines at every client", lambda: all(client.has(2) for client in clients.values()))
        before = {name: max(client.seen[TOPICS[0]]) for name, client in clients.items()}
        assert cutter.cut() == len(clients)
        enough = lambda client, last: max(client.seen[TOPICS[0]]) >= last + 4
        eventually("more after the cut", lambda: all(enough(clients[name], before[name]) for name in clients))
        ended = {name: (client, client.end()) for name, client in clients.items()}
        agreed = {}
        for name, (client, seen) in ended.items():
            assert client.again == 0, f"{name} printed {client.again} twice"
            assert any("trying again" in line for line in client.complaints), f"{name} was not cut: {client.complaints}"
            assert not any("gone" in line for line in client.complaints), f"{name}: {client.complaints}"
            for topic, values in seen.items():
                numbers = sorted(values)
                assert numbers == list(range(numbers[0], numbers[-1] + 1)), f"{name} misses some of {topic}: {numbers}"
                for number, value in values.items():
                    assert agreed.setdefault((topic, number), value) == value, f"{name} has {value} of {topic} {number}"
        print(f"  {len(agreed)} klines and values, the same at {', '.join(ended)}")


def refused():
    """each example ends with a reason where the key is wrong"""
    with Klines("examples-refused") as klines:
        for name, command in programs().items():
            environment = {
                **os.environ, "KLINES_URL": f"ws://127.0.0.1:{klines.port}/v1/stream", "KLINES_PORT": str(klines.port),
                "KLINES_USER": USER, "KLINES_KEY": "not-the-key-of-this-server",
            }
            ended = subprocess.run([*command, TOPICS[0]], env=environment, capture_output=True, text=True, timeout=service.PATIENCE)
            assert ended.returncode == 1 and ended.stderr.strip(), f"{name}: {ended}"


TESTS = [resumed, refused]
