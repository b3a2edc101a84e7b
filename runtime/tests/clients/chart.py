"""The chart page in a real browser; the tests themselves are the `.mjs` files."""

import os
import subprocess
from pathlib import Path

import service
from market import Market
from service import KEY, USER, Klines


def run_script(script, **addresses):
    """Runs a script of this folder with the addresses of servers in its environment."""
    environment = {**os.environ, "USER": USER, "KEY": KEY, **addresses}
    done = subprocess.run(["node", Path(__file__).with_name(script)], env=environment, cwd=service.ROOT,
                          stdin=subprocess.DEVNULL, timeout=300, capture_output=True, text=True)
    print("".join(f"  {line}\n" for line in done.stdout.splitlines()), end="")
    assert done.returncode == 0, done.stderr


def run(script):
    """Runs a script of this folder against a server of its own."""
    with Klines(Path(script).stem) as klines:
        run_script(script, BASE_URL=f"http://localhost:{klines.port}")


def modules():
    """the modules of the chart page do what they promise without a browser"""
    run("modules.mjs")


def page():
    """the chart page draws, updates and reconnects in Chromium"""
    run("page.mjs")


def controls():
    """the chart page's symbol box, crosshair and time zone work in Chromium, on small screens too"""
    run("controls.mjs")


def past():
    """the chart page scrolls back to the oldest stored kline in Chromium, and says so where nothing is stored"""
    with Market() as market, market.run("past", days=3) as stored:
        with market.run("past-bare", websocket="auth = false", store=False) as bare:
            address = f"http://localhost:{stored.port}"
            run_script("past.mjs", BASE_URL=address, STORED_URL=address, OLDEST=str(stored.oldest),
                       BARE_URL=f"http://localhost:{bare.port}")


TESTS = [modules, page, controls, past]
