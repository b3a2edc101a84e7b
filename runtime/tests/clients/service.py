"""Runs `klines` with a canary as its key, reads its log, and stops it. Does not know what the clients do."""

import atexit
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOGS = ROOT / "target/clients/logs"
PATIENCE = 60
USER = "tester"
# New for each run, so that an earlier run cannot hide or fake a leak. Never passed on a command line.
KEY = "canary" + secrets.token_urlsafe(32)

program = ROOT / "target/release/klines"


def eventually(what, probe, patience=PATIENCE, pause=0.05):
    """Returns the first true value of `probe`."""
    deadline = time.monotonic() + patience
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"never seen in {patience} s: {what}"
        time.sleep(pause)


# The settings of the demo, for tests with their own configuration file.
DEMO = """
[exchange]
symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]

[klines]
intervals = ["1s", "5s", "1m"]
"""


class Klines:
    """
    A run with the websocket consumer, on a port that the system chooses: of the demo, or with a configuration of its own.
    `before` has the arguments of commands that are run before it in its folder.
    """

    alive = []
    logs = []

    def __init__(self, name, settings="", level="debug", descriptors=None, consumers="websocket",
                 configuration=None, before=()):
        self.home = tempfile.TemporaryDirectory(prefix="klines-")
        arguments = [program, "run", "--consumers", consumers]
        if configuration is None:
            arguments.append("--demo")
        if settings or configuration:
            text = configuration or f"{DEMO}\n[websocket]\n{settings}\n"
            Path(self.home.name, "klines.toml").write_text(text)
            arguments += ["--config", "klines.toml"]
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_file = LOGS / f"{name}.log"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.home.name,
            "WSS_AUTH_USER": USER,
            "WSS_AUTH_KEY": KEY,
            "WEBSOCKET_PORT": "0",
            "LOG_FORMAT": "json",
            "LOG_LEVEL": level,
        }

        def limit():
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        with self.log_file.open("wb") as log:
            for command in before:
                subprocess.run([program, *command], cwd=self.home.name, env=environment, stdin=subprocess.DEVNULL,
                               stdout=log, stderr=log, check=True, timeout=PATIENCE)
            self.process = subprocess.Popen(
                arguments, cwd=self.home.name, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=limit,
            )
        Klines.alive.append(self)
        Klines.logs.append(self.log_file)
        self.port = eventually("the address that it listens on", self._port)

    def _port(self):
        assert self.process.poll() is None, f"klines ended with {self.process.returncode}"
        for line in self.lines():
            if line.get("message") == "serving klines":
                return int(line["address"].rpartition(":")[2])
        return None

    def lines(self):
        """Yields the lines of its log so far."""
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                pass

    def said(self, words):
        """Returns how many lines of its log contain these words in the message."""
        return sum(words in line.get("message", "") for line in self.lines())

    def memory(self):
        """Returns the resident memory in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))

    def processor_time(self):
        """Returns the CPU time so far in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Sends SIGTERM and waits for a successful end."""
        assert self.process.poll() is None, f"klines ended by itself with {self.process.returncode}"
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert code == 0, f"klines ended with {code}"
        self.release()

    def release(self):
        """Ends the process in any state, and removes its folder."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self in Klines.alive:
            Klines.alive.remove(self)
        self.home.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()


class Watch:
    """Searches continuously for the canary on every command line of the machine."""

    def __init__(self):
        self.seen = []
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.wait(0.2):
            self.looks += 1
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if KEY.encode() in file.read_bytes():
                        self.seen.append(str(file))
                except OSError:
                    pass

    def end(self):
        """Stops looking."""
        self._end.set()
        self._thread.join()
