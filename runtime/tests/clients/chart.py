"""The chart page in a real browser; the tests themselves are the `.mjs` files."""

import os
import subprocess
from pathlib import Path

import service
from service import KEY, USER, Klines


def run(script):
    """Runs a script of this folder against a server of its own."""
    with Klines(Path(script).stem) as klines:
        environment = {**os.environ, "BASE_URL": f"http://localhost:{klines.port}", "USER": USER, "KEY": KEY}
        done = subprocess.run(["node", Path(__file__).with_name(script)], env=environment, cwd=service.ROOT,
                              stdin=subprocess.DEVNULL, timeout=300, capture_output=True, text=True)
        print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
        assert done.returncode == 0, done.stderr


def modules():
    """the modules of the chart page do what they promise without a browser"""
    run("modules.mjs")


def page():
    """the chart page draws, updates and reconnects in Chromium"""
    run("page.mjs")


def controls():
    """the chart page's symbol box, crosshair and time zone work in Chromium, on small screens too"""
    run("controls.mjs")


TESTS = [modules, page, controls]
