#!/usr/bin/env python3
"""Measures `klines replay` as whole processes, each input next to its baselines in the same run, and prints rows of the
table "What a user sees".

usage: replay.py PROGRAM

The baselines are the floor, which only reads the file and counts its lines (`wc -l`), and the peers, where
`make bench-peers` has installed them. A row is the median of the CPU seconds (user and system, all threads) of five
runs that alternate with those of the baselines; its spread is the difference of the largest and the smallest in percent
of the median. Wall seconds are medians, peak is the largest resident memory. Inputs are written once into target/bench
and kept. It exits with a message if a peer does not make the same klines.
"""

import csv
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import inputs

BENCHES = Path(__file__).resolve().parent
TARGET = BENCHES.parent.parent / "target"
INPUTS = TARGET / "bench"
PEERS = TARGET / "peers"
RUNS = 5
# Seconds between two looks at the memory of a process.
SAMPLED = 0.005


@dataclass
class Process:
    """A command that is measured. It writes klines into {out}: a file for klines, a folder for a peer."""

    name: str
    command: list
    runs: list = field(default_factory=list)

    def run(self, folder):
        """Runs the command and returns its CPU seconds, wall seconds and peak MB."""
        command = [str(part).format(out=self.output(folder)) for part in self.command]
        begun = time.monotonic()
        child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak = max(peak, resident_peak(child.pid))
            time.sleep(SAMPLED)
        wall = time.monotonic() - begun
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise SystemExit(f"exit code {child.returncode}: {' '.join(command)}")
        return used.ru_utime + used.ru_stime, wall, peak

    def output(self, folder):
        return Path(folder) / self.name.replace(" ", "-")

    def median(self, at):
        return statistics.median(run[at] for run in self.runs)

    def spread(self):
        spent = [run[0] for run in self.runs]
        return (max(spent) - min(spent)) / statistics.median(spent) * 100


def resident_peak(pid):
    """Returns the peak of a process so far in MB. `ru_maxrss` would include the memory of the Python that starts it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) * 1_024 / 1e6 if found else 0


def main(program):
    program = Path(program).resolve()
    print("What a user sees")
    print(f"{'measurement':<58} {'klines':>12} {'baseline':>12} {'ratio':>7} {'spread %':>10}  floor / goal", flush=True)
    for name, path, intervals, peers in cases():
        replay = [program, "replay", path, "--intervals", intervals, "--format", "csv", "--output", "{out}", "--force"]
        klines = Process("klines", replay)
        floor = Process("wc -l", ["wc", "-l", path])
        if path.suffix == ".gz":
            floor = Process("gzip -dc | wc -l", ["sh", "-c", f"gzip -dc '{path}' | wc -l"])
        measure(name, klines, floor, peers)
    if not (PEERS / "venv").exists():
        print("no peers: `make bench-peers` installs DuckDB, Polars and trade_aggregation in target/peers", flush=True)


def cases():
    """Returns the inputs: a name, the file, the intervals, and the peers that read it."""
    archive = [script_peer("duckdb"), script_peer("polars")]
    frames = [crate_peer()]
    made = [
        ("replay 2 M trades in frames -> 1m+5m+1h csv, CPU", "frames.ndjson", "1m,5m,1h", frames),
        ("replay a day of 3 M trades -> 1s+1m+1h csv, CPU", "archive.csv", "1s,1m,1h", archive),
        ("replay the same day packed with gzip, CPU", "archive.csv.gz", "1s,1m,1h", archive),
    ]
    return [(name, ready(file), intervals, peers_of(peers, INPUTS / file)) for name, file, intervals, peers in made]


def ready(file):
    """Returns the path of an input, and writes it if it is not there."""
    path = INPUTS / file
    if not path.exists():
        print(f"writing {path.relative_to(TARGET.parent)}", file=sys.stderr)
        INPUTS.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"part-{file}")
        (inputs.write_frames if file.startswith("frames") else inputs.write_archive)(str(part))
        part.rename(path)
    return path


def script_peer(name):
    pinned = re.search(rf"^{name}==(\S+)", (BENCHES / "peers/requirements.txt").read_text(), re.M).group(1)
    return f"{name} {pinned}", [PEERS / "venv/bin/python", BENCHES / f"peers/{name}_klines.py"]


def crate_peer():
    manifest = (BENCHES / "peers/trade_aggregation/Cargo.toml").read_text()
    pinned = re.search(r'^trade_aggregation = "=(\S+)"', manifest, re.M).group(1)
    return f"trade_aggregation {pinned}", [PEERS / "trade_aggregation/release/trade-aggregation-klines"]


def peers_of(peers, path):
    return [Process(name, [*command, path, "{out}"]) for name, command in peers if command[0].exists()]


def measure(name, klines, floor, peers):
    with tempfile.TemporaryDirectory(dir=INPUTS) as folder:
        processes = [klines, floor, *peers]
        for peer in peers:
            peer.output(folder).mkdir()
        # The first run fills the page cache, is not counted, and shows whether all do the same work.
        for process in processes:
            process.run(folder)
        for peer in peers:
            compare(totals_of_klines(klines.output(folder)), peer.name, totals_of_peer(peer.output(folder)))
        for _ in range(RUNS):
            for process in processes:
                process.runs.append(process.run(folder))
    for baseline in processes[1:]:
        row(name, klines, baseline)
        name = "the same"


def totals_of_klines(path):
    """Returns the number of klines with trades, their volume and their trades, by interval."""
    totals = {}
    with open(path, newline="") as file:
        for interval, _, _, _, _, _, _, volume, _, trades in csv.reader(file):
            add(totals, interval, volume, trades)
    return totals


def totals_of_peer(folder):
    totals = {}
    for path in folder.iterdir():
        with open(path, newline="") as file:
            for line in csv.DictReader(file):
                add(totals, path.stem, line["volume"], line["trades"])
    return totals


def add(totals, interval, volume, trades):
    if int(trades) > 0:
        count, volumes, traded = totals.get(interval, (0, 0.0, 0))
        totals[interval] = (count + 1, volumes + float(volume), traded + int(trades))


def compare(ours, name, theirs):
    """Exits unless a peer made the same klines, up to the error of its floats."""
    same = ours.keys() == theirs.keys() and all(
        ours[interval][0] == theirs[interval][0]
        and ours[interval][2] == theirs[interval][2]
        and math.isclose(ours[interval][1], theirs[interval][1], rel_tol=1e-9)
        for interval in ours
    )
    if not same:
        raise SystemExit(f"{name} made other klines (interval: klines, volume, trades): {theirs} instead of {ours}")


def row(name, klines, baseline):
    cpu, floor = klines.median(0), baseline.median(0)
    spread = f"{klines.spread():.0f} / {baseline.spread():.0f}"
    wall = f"wall {klines.median(1):.2f} / {baseline.median(1):.2f} s"
    peak = f"peak {max(run[2] for run in klines.runs):.0f} / {max(run[2] for run in baseline.runs):.0f} MB"
    print(
        f"{name:<58} {cpu:>10.2f} s {floor:>10.2f} s {cpu / floor:>7.2f} {spread:>10}  {wall}, {peak} "
        f"(baseline: {baseline.name})",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
