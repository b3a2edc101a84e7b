#!/usr/bin/env python3
"""Measures how soon the first windows are right: `klines run` with 900 symbols and 14 intervals.

usage: seeding.py PROGRAM [SECONDS=150] [RUNS=1]

A simulated exchange with Bybit's limits, in a separate process, has 900 symbols, of which one in three has several trades a
second, and 42 days of klines before the start. Runs with `repair = "0s"` and with the default alternate.
A row has the seconds from the start until the first windows of 90 % and of all symbols were known, the requests until then
and how many failed, the CPU seconds (user and system, all threads) and the largest resident memory.
"""

import sys
import tempfile
from datetime import datetime
from pathlib import Path

import feeds

SYMBOLS = 900
INTERVALS = "1s,1m,3m,5m,15m,30m,1h,2h,4h,6h,12h,1D,1W,1M"


def when(line):
    return datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))


def row(repair, lines, used):
    start = next(line for line in lines if line["message"] == "running")
    since = lambda line: f"{(when(line) - when(start)).total_seconds():.1f} s"
    steps = [line for line in lines if line["message"] == "learning the first windows"]
    nearly = next((since(line) for line in steps if line["seeded"] >= 0.9 * SYMBOLS), "-")
    ends = [line for line in lines if line["message"] == "first windows known"]
    end, requests = ("-", "-") if not ends else (since(ends[0]), ends[0]["requests"])
    tally = next(line for line in lines if line["message"] == "trades accounted for")
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1_000
    warnings = [line["message"] for line in lines if line["level"] in ("WARN", "ERROR")]
    print(
        f"repair = {repair}: 90 % after {nearly}, all after {end}, {requests} requests; {cpu:.1f} CPU s, peak {peak:.0f} MB; "
        f"{tally['counted']} counted, {tally['superseded']} superseded; warnings: {sorted(set(warnings)) or 'none'}"
    )


def main(program, seconds=150, runs=1):
    program = str(Path(program).resolve())
    with tempfile.TemporaryDirectory() as folder:
        names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", *(f"S{at:04d}USDT" for at in range(4, SYMBOLS + 1))]
        for _ in range(int(runs)):
            for repair in ("0s", "24h"):
                home = Path(folder) / repair
                home.mkdir(exist_ok=True)
                (home / "klines.toml").write_text(f'[klines]\nrepair = "{repair}"\n')
                exchange, address = feeds.simulate(program, ["--symbols", str(SYMBOLS)], folder)
                lines, code, used = feeds.live(program, address, names, INTERVALS, int(seconds), {}, home)
                exchange.terminate()
                exchange.wait()
                if code != 0:
                    raise SystemExit(f"exit code {code}: {lines[-5:]}")
                row(repair, lines, used)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(*sys.argv[1:])
