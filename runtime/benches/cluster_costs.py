"""Measures what a cluster costs beside a single process, on the same simulated exchange in the same run.

    python3 cluster_costs.py PROGRAM [SECONDS=60] [SYMBOLS=100]

Needs `pip install websockets` and `make components`. Starts Redis, two ingest nodes, one gateway, one worker whose component records
every kline in its state, and one process without a cluster. One client of each server follows every symbol at `1s`. Prints how long
after the end of a window its closed kline reached the client (p50, p99; the grace of 80 ms is part of both), and the CPU time of
each process for a thousand closed klines.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from websockets.sync.client import connect

PROGRAM = Path(sys.argv[1]).resolve()
DURATION = float(sys.argv[2]) if len(sys.argv) > 2 else 60
SYMBOLS = int(sys.argv[3]) if len(sys.argv) > 3 else 100
INTERVALS = "1s,5s,15s,30s,1m,3m,5m,15m,30m,1h,2h,4h,12h,1D"
LEDGER = Path(__file__).resolve().parents[2] / "target/guests/wasm32-wasip2/guest/ledger_guest.wasm"
KEY = "0123456789abcdef0123456789abcdef"
# Corrections, and klines of windows before the client came, say nothing of the way.
LATEST = 5_000

home = Path(tempfile.mkdtemp(prefix="klines-costs-"))
running = {}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


PORTS = {name: free_port() for name in ("redis", "exchange", "alone", "gateway")}


def start(name, arguments, environment=None):
    with open(home / f"{name}.log", "wb") as log:
        running[name] = subprocess.Popen(arguments, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env={"PATH": os.environ["PATH"], **(environment or {})})


def node(name, role, consumers="websocket"):
    address = f"127.0.0.1:{PORTS['exchange']}"
    start(name, [str(PROGRAM), "run", "--data-dir", str(home / name)],
          {"CLUSTER_ROLE": role, "CLUSTER_NODE": name, "CLUSTER_REDIS_URL": f"redis://127.0.0.1:{PORTS['redis']}", "BYBIT_LOAD_ALL_SYMBOLS": "true",
           "KLINE_INTERVALS": INTERVALS, "ENABLED_CONSUMERS": consumers, "WEBSOCKET_PORT": str(PORTS.get(name, 0)), "WSS_AUTH_USER": "u",
           "WSS_AUTH_KEY": KEY, "BYBIT_WS_URL": f"ws://{address}", "BYBIT_REST_URL": f"http://{address}"})


def cpu(name):
    fields = Path(f"/proc/{running[name].pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def follow(name, symbols, end, found):
    address = f"ws://127.0.0.1:{PORTS[name]}/v1/stream"
    with connect(address, additional_headers={"Authorization": f"Bearer {KEY}"}, max_size=None) as client:
        for at in range(0, len(symbols), 50):
            client.send(json.dumps({"op": "subscribe", "topics": [f"kline.1s.{symbol}" for symbol in symbols[at:at + 50]]}))
        while (now := time.time()) < end:
            try:
                message = json.loads(client.recv(timeout=end - now))
            except TimeoutError:
                return
            if message.get("type") == "kline" and message["data"]["confirm"]:
                late = time.time() * 1_000 - message["data"]["end"] - 1
                if message["data"]["revision"] == 0 and late < LATEST:
                    found.append(late)


def report(name, found):
    found.sort()
    share = lambda part: found[min(len(found) - 1, int(len(found) * part))]
    print(f"{name:<28} {len(found):>8} {share(0.5):>8.1f} ms {share(0.99):>8.1f} ms")


def main():
    start("redis", ["redis-server", "--bind", "127.0.0.1", "--port", str(PORTS["redis"]), "--save", "", "--dir", str(home)])
    start("exchange", [str(PROGRAM), "simulate", "--symbols", str(SYMBOLS), "--listen", f"127.0.0.1:{PORTS['exchange']}"])
    time.sleep(2)
    for name, role in [("alone", "all"), ("ingest-1", "ingest"), ("ingest-2", "ingest"), ("gateway", "serve")]:
        node(name, role)
    (home / "plugins").mkdir()
    shutil.copy(LEDGER, home / "plugins" / "ledger.wasm")
    node("worker", "serve", "ledger")
    # First windows, of minutes too.
    time.sleep(90)
    names = json.loads(subprocess.run(["redis-cli", "-p", str(PORTS["redis"]), "--json", "eval",
                                       "local found = {} for p = 0, 63 do for _, s in ipairs(redis.call('hkeys', '{klines:main:' .. p .. '}:series'))"
                                       " do found[#found + 1] = s end end return found", "0"], capture_output=True, text=True, check=True).stdout)
    symbols = sorted({name.split(" ")[1] for name in names})
    before, end = {name: cpu(name) for name in running}, time.time() + DURATION
    found = {"alone": [], "gateway": []}
    clients = [threading.Thread(target=follow, args=(name, symbols, end, found[name])) for name in found]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    used = {name: cpu(name) - before[name] for name in running}
    print(f"{len(symbols)} symbols, 14 intervals, {DURATION:.0f} s; from the end of a window to a client:\n")
    print(f"{'':<28} {'klines':>8} {'p50':>11} {'p99':>11}")
    report("one process", found["alone"])
    report("through Redis", found["gateway"])
    # Of the intervals from 1s to 1m, whose klines close in this time.
    closed = len(symbols) * DURATION * sum(1 / seconds for seconds in (1, 5, 15, 30, 60, 180, 300))
    print(f"\nCPU for 1,000 of {closed:.0f} closed klines, the work on trades included:\n")
    for name in ("alone", "ingest-1", "ingest-2", "redis", "gateway", "worker"):
        print(f"{name:<28} {used[name] / closed * 1e6:>8.1f} ms")
    print(f"\nmedian difference: {statistics.median(found['gateway']) - statistics.median(found['alone']):.1f} ms")


try:
    main()
finally:
    for process in running.values():
        process.kill()
