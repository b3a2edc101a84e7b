#!/usr/bin/env python3
"""Measures what a redundant feed costs: `klines run` with one and with two connections for each symbol.

usage: feeds.py PROGRAM [SECONDS=60] [RUNS=3]

A simulated exchange, in a separate process, plays a recording that the script writes: 5,000 trades a second of 200
symbols in frames of three. Runs with `feeds = 1` and `feeds = 2` alternate. A row has the median of the CPU seconds
(user and system, all threads) of `klines run`, with those of all runs in brackets, and the median of its largest
resident memory. The script exits with a message if a run has not counted almost all trades, or the wrong number of
duplicates.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import inputs

TRADES_A_SECOND = 5_000
SYMBOLS = 200
ROWS = 3
INTERVALS = "1s,5s,15s,30s,1m,3m,5m,15m,30m,1h,2h,4h,12h,1D"
# How many seconds longer the exchange trades than the program runs, which starts later and ends earlier.
SPARE = 15


def frames(seconds):
    """Yields frames in Bybit's layout at regular times."""
    draw, rate = inputs.split_mix(0x5EED_2026_1129_0001), TRADES_A_SECOND // ROWS
    prices, count = [100_000 + 997 * at for at in range(SYMBOLS)], 0
    for number in range(seconds * rate):
        now, at, texts = inputs.START * 1_000 + number * 1_000 // rate, draw() % SYMBOLS, []
        for _ in range(ROWS):
            old, count = prices[at], count + 1
            price = prices[at] = max(1_000, old + draw() % 7 - 3)
            texts.append(
                f'{{"T":{now},"s":"S{at:03d}USDT","S":"{("Buy", "Sell")[draw() & 1]}",'
                f'"v":"{inputs.decimal(1 + draw() % 5_000, 3)}","p":"{inputs.decimal(price, 2)}",'
                f'"L":"{inputs.tick(price, old)}","i":"{inputs.uuid(draw(), draw())}",'
                f'"BT":false,"RPI":false,"seq":{count}}}'
            )
        yield f'{{"topic":"publicTrade.S{at:03d}USDT","type":"snapshot","ts":{now + 2},"data":[{",".join(texts)}]}}\n'


def simulate(program, market, folder):
    """Starts the exchange with options that say what it trades. Returns its process and its address."""
    command = [program, "simulate", "--listen", "127.0.0.1:0", *market, "--log-level", "warn"]
    exchange = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in exchange.stdout:
        if found := re.search(r"ws://([0-9.]+:[0-9]+)", line):
            return exchange, found.group(1)
    raise SystemExit("the exchange did not start")


def run(program, recording, feeds, seconds):
    """Runs the program once. Returns its CPU seconds and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        exchange, address = simulate(program, ["--recording", recording], folder)
        names, settings = [f"S{at:03d}USDT" for at in range(SYMBOLS)], {"BYBIT_FEEDS": str(feeds)}
        lines, code, used = live(program, address, names, INTERVALS, seconds, settings, folder)
        exchange.terminate()
        exchange.wait()
        check(lines, feeds, seconds, code)
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000


def live(program, address, symbols, intervals, seconds, settings, folder, memory=None):
    """Runs `klines run` for some seconds. Returns the lines of its log, its exit code and what it used. Adds to `memory`, if
    there is one, how many MB it has at each tenth of the time."""
    settings = settings | {
        "BYBIT_WS_URL": f"ws://{address}",
        "BYBIT_REST_URL": f"http://{address}",
        "BYBIT_SYMBOLS": ",".join(symbols),
        "LOG_FORMAT": "json",
    }
    command = [program, "run", "--intervals", intervals, "--for", f"{seconds}s"]
    with open(Path(folder) / "log", "w+") as log:
        environment = os.environ | settings
        child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=log)
        for _ in range(9 if memory is not None else 0):
            time.sleep(seconds / 10)
            memory.append(megabytes(child.pid))
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        return [json.loads(line) for line in log if line.startswith("{")], child.returncode, used


def megabytes(pid):
    """Returns the memory that a process has."""
    kilobytes = next(line.split()[1] for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))
    return int(kilobytes) // 1_000


def check(lines, feeds, seconds, code):
    tally = next((line for line in lines if line["message"] == "trades accounted for"), None)
    if code != 0 or tally is None:
        raise SystemExit(f"exit code {code}: {lines[-5:]}")
    counted, duplicate = tally["counted"], tally["duplicate"]
    print(f"feeds {feeds}: {counted} trades counted, {duplicate} duplicates", file=sys.stderr)
    is_all = counted > 0.9 * TRADES_A_SECOND * seconds and abs(duplicate - (feeds - 1) * counted) < 0.1 * counted
    if not is_all:
        raise SystemExit(f"not all trades arrived: {tally}")


def main(program, seconds=60, runs=3):
    program = str(Path(program).resolve())
    with tempfile.TemporaryDirectory() as folder:
        recording = str(Path(folder) / "frames.ndjson")
        with open(recording, "w") as out:
            out.writelines(frames(int(seconds) + SPARE))
        found = {1: [], 2: []}
        for _ in range(int(runs)):
            for feeds, results in found.items():
                results.append(run(program, recording, feeds, int(seconds)))
    for feeds, results in found.items():
        cpu, peak = zip(*results)
        of_all, median = ", ".join(f"{one:.2f}" for one in cpu), statistics.median
        print(f"feeds = {feeds}: {median(cpu):.2f} CPU s ({of_all}), peak {median(peak):.1f} MB")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(*sys.argv[1:])
