"""The chart page in a real browser; the test itself is `page.mjs`."""

import os
import subprocess
from pathlib import Path

import service
from service import KEY, USER, Klines


def page():
    """the chart page draws, updates and reconnects in Chromium"""
    with Klines("page") as klines:
        environment = {**os.environ, "BASE_URL": f"http://localhost:{klines.port}", "USER": USER, "KEY": KEY}
        done = subprocess.run(["node", Path(__file__).with_name("page.mjs")], env=environment, cwd=service.ROOT,
                              stdin=subprocess.DEVNULL, timeout=300, capture_output=True, text=True)
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
        assert done.returncode == 0, done.stderr


TESTS = [page] if Path(__file__).with_name("page.mjs").exists() else []
