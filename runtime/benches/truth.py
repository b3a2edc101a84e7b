#!/usr/bin/env python3
"""Compares the klines of a run with those of the simulated exchange that it watched, and says how each was known.

usage: truth.py PROGRAM SCENARIO [SECONDS]

  start      a run that begins in the middle of every window, up to 1M (130 s)
  cut        the feed is cut for 20 s (170 s)
  one-feed   the same one of two connections is reset every 3 s (600 s)
  in-turn    the two connections are reset in turn, one every 3 s (600 s)
  both-feeds all connections are reset every 30 s (300 s)
  soak       connections are reset every few seconds, bursts come, and a third of the REST calls is refused, until five minutes
             before the end (1800 s)

The exchange runs in a separate process, with the fault script of the scenario, and the klines are written by the `jsonl`
consumer. Of each window of whole minutes, the newest revision is compared with the exchange's own kline in open, high, low,
close, volume and turnover (also of the open windows of `start`, which ends with a halt of the market); the volume of a minute is compared with the sum of its seconds where both are certain. A table
has the newest qualities by interval: of open windows, and of those that ended two minutes before the end. The script exits with a
message if a kline that is `complete` or `repaired` is wrong.
"""

import json
import socket
import struct
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path

import feeds

MINUTE = 60_000
# Bybit's codes of the intervals that it has klines of.
CODES = {"1m": "1", "3m": "3", "5m": "5", "15m": "15", "30m": "30", "1h": "60", "2h": "120", "4h": "240", "6h": "360",
         "12h": "720", "1D": "D", "1W": "W", "1M": "M"}
FIELDS = ("open", "high", "low", "close", "volume", "turnover")


def every(period, fault, seconds, start=10):
    return [f"at {at}s {fault}" for at in range(start, seconds, period)]


def scenario(name, seconds):
    """Returns the number of symbols, the intervals, the seconds and the fault script."""
    if name == "start":
        return 30, "1s,1m,36m,1h,4h,1D,1W,1M", seconds or 130, ["at 125s halt"]
    if name == "cut":
        return 30, "1s,1m,5m,1h", seconds or 170, ["at 40s cut 20s"]
    if name == "one-feed":
        # One pair of connections has up to 873 of these names.
        return 800, "1s,1m,5m", seconds or 600, []
    if name == "in-turn":
        seconds = seconds or 600
        return 900, "1s,1m,5m", seconds, every(3, "drop-oldest", seconds)
    if name == "both-feeds":
        seconds = seconds or 300
        return 100, "1s,5s,1m,5m", seconds, every(30, "drop", seconds - 125)
    if name == "soak":
        seconds = seconds or 1_800
        healed = seconds - 300
        faults = every(4, "drop-oldest", healed) + every(45, "drop", healed) + every(20, "burst 50000", healed)
        faults += ["at 0s rest limited 33%", f"at {healed}s heal"]
        return 600, "1s,5s,15s,1m,3m,5m,15m,1h", seconds, faults
    raise SystemExit(__doc__)


class Relay:
    """Passes connections to an address on, and resets the newest stream every `period` seconds, unless it is the only one."""

    def __init__(self, address, period):
        host, port = address.split(":")
        self.target, self.period, self.streams, self.resets = (host, int(port)), period, [], 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        for work in (self.accept, self.reset):
            threading.Thread(target=work, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(self.target)
            # A stream begins with a request for its path, REST calls with another one.
            if b"/v5/public/" in client.recv(64, socket.MSG_PEEK):
                self.streams.append(client)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, sink):
        try:
            while block := source.recv(1 << 16):
                sink.sendall(block)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def reset(self):
        while True:
            time.sleep(self.period)
            self.streams = [stream for stream in self.streams if self.is_open(stream)]
            if len(self.streams) > 1:
                newest = self.streams.pop()
                # No linger: the connection is reset instead of closed.
                newest.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                newest.shutdown(socket.SHUT_RDWR)
                self.resets += 1

    def is_open(self, stream):
        try:
            stream.getpeername()
            return True
        except OSError:
            return False


def rank(row):
    return row["confirm"], row["revision"]


def klines(folder):
    """Returns the newest version of each kline, and the numbers of closed ones and of corrections."""
    newest, lines, corrections = {}, 0, 0
    for path in sorted(Path(folder).glob("klines-out/*")):
        with open(path) as rows:
            for row in map(json.loads, rows):
                lines += row["confirm"]
                corrections += row["revision"] > 0
                key = row["symbol"], row["interval"], row["start"]
                if key not in newest or rank(newest[key]) <= rank(row):
                    newest[key] = row
    return newest, lines, corrections


def exchange_klines(address, symbol, code, start, end):
    url = f"http://{address}/v5/market/kline?category=linear&symbol={symbol}&interval={code}&start={start}&end={end}&limit=1000"
    while True:
        with urllib.request.urlopen(url) as answer:
            found = json.load(answer)
        if found["retCode"] == 0:
            return {int(row[0]): [Decimal(value) for value in row[1:]] for row in found["result"]["list"]}
        time.sleep(0.2)


def compare(newest, address):
    """Returns how many klines were equal to those of the exchange, and those that were not although they were certain."""
    by_series = {}
    for (symbol, interval, start), row in newest.items():
        if interval in CODES:
            by_series.setdefault((symbol, interval), {})[start] = row
    equal, wrong = Counter(), []
    for (symbol, interval), rows in by_series.items():
        truth = exchange_klines(address, symbol, CODES[interval], min(rows), max(rows))
        time.sleep(0.01)
        for start, row in rows.items():
            is_equal = start in truth and [Decimal(str(row[field])) for field in FIELDS] == truth[start]
            equal[interval] += is_equal
            if not is_equal and row["quality"] in ("complete", "repaired"):
                wrong.append((row, truth.get(start)))
    return equal, wrong


def rolled_up(newest):
    """Returns how many minutes had the volume of their seconds, and those that had not."""
    certain = ("complete", "repaired")
    sums, counts = Counter(), Counter()
    for (symbol, interval, start), row in newest.items():
        if interval == "1s" and row["quality"] in certain:
            sums[symbol, start - start % MINUTE] += Decimal(str(row["volume"]))
            counts[symbol, start - start % MINUTE] += 1
    minutes = [key for key, count in counts.items() if count == 60]
    pairs = [(newest.get((symbol, "1m", start)), sums[symbol, start]) for symbol, start in minutes]
    pairs = [(row, total) for row, total in pairs if row and row["quality"] in certain]
    return len(pairs), [(row, total) for row, total in pairs if Decimal(str(row["volume"])) != total]


def report(name, newest, lines, corrections, tally, used, memory, settled):
    is_old = lambda row: not row["confirm"] or row["end"] < settled
    qualities = Counter((interval, row["quality"]) for (_, interval, _), row in newest.items() if is_old(row))
    print(f"{name}: {lines} closed klines, of them {corrections} corrections; {used.ru_utime + used.ru_stime:.1f} CPU s, "
          f"peak {used.ru_maxrss / 1_000:.0f} MB; MB at every tenth of the time: {' '.join(map(str, memory))}")
    kinds = ("complete", "repaired", "partial", "gapped")
    print("| interval | " + " | ".join(kinds) + " |\n|" + " --- |" * 5)
    for interval in dict.fromkeys(interval for _, interval, _ in newest):
        print(f"| {interval} | " + " | ".join(str(qualities[interval, kind]) for kind in kinds) + " |")
    terms = ("counted", "duplicate", "late", "rejected", "excluded", "superseded")
    print(", ".join(f"{term} {tally[term]}" for term in ("received", *terms)))
    uncertain = [row for row in newest.values() if is_old(row) and row["quality"] in kinds[2:]]
    for row in sorted(uncertain, key=lambda row: row["start"])[:20]:
        print("not certain:", *(row[field] for field in ("symbol", "interval", "start", "sequence", "confirm", "quality", "trades")))
    if tally["received"] != sum(tally[term] for term in terms):
        raise SystemExit("the trades are not accounted for")


def main(program, name, seconds=None):
    program = str(Path(program).resolve())
    symbols, intervals, seconds, script = scenario(name, seconds and int(seconds))
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", *(f"S{at:04d}USDT" for at in range(4, symbols + 1))]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "script").write_text("\n".join(script) + "\n")
        (home / "klines.toml").write_text(
            'enabled_consumers = ["jsonl"]\n[consumers.jsonl.allow]\n'
            'dirs = [{ host = "./klines-out", guest = "/out", write = true, max = "64GiB" }]\n'
            '[consumers.jsonl.settings]\nshow = "all"\n'
        )
        exchange, address = feeds.simulate(program, ["--symbols", str(symbols), "--script", str(home / "script")], folder)
        try:
            relay = Relay(address, 3) if name == "one-feed" else None
            watched = relay.address if relay else address
            memory = []
            log, code, used = feeds.live(program, watched, names, intervals, seconds, {}, folder, memory)
            ended = int(time.time() * 1_000)
            if code != 0:
                raise SystemExit(f"exit code {code}: {log[-5:]}")
            tally = next(line for line in log if line["message"] == "trades accounted for")
            newest, lines, corrections = klines(folder)
            if relay:
                print(f"{relay.resets} resets")
            report(name, newest, lines, corrections, tally, used, memory, ended - 2 * MINUTE)
            if name != "start":
                newest = {key: row for key, row in newest.items() if row["confirm"]}
            equal, wrong = compare(newest, address)
        finally:
            exchange.terminate()
            exchange.wait()
    checked, unequal = rolled_up(newest)
    print(f"equal to the exchange: {dict(equal)}; certain and wrong: {len(wrong)}")
    print(f"minutes with the volume of their seconds: {checked - len(unequal)} of {checked}")
    if wrong or unequal:
        raise SystemExit(f"wrong: {wrong[:3]} {unequal[:3]}")


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main(*sys.argv[1:])
