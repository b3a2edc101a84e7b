"""Breaks a cluster at random, by seed, and checks every kline that its gateways hand on.

    python3 cluster.py PROGRAM [SECONDS] [SEED] [sentinel|empty]

Starts a simulated exchange, Redis, three ingest nodes, two gateways, and one process without a cluster that nobody disturbs. Until
the time is over, it kills and stops ingest nodes and gateways, and kills Redis: it comes back with its data, with `empty` without any, or
with `sentinel` a replica is promoted by a real Sentinel. At the end it compares what the gateways have printed, also over their
restarts: no window between others is missing, none comes twice in one process, both gateways have the same windows, and the newest
revision of what is `complete` is what the undisturbed process says; unless Redis comes back empty, no kline has two contents under
one revision, and sequences have no hole. Exits with 1 if not.
"""

import collections
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = Path(sys.argv[1]).resolve()
DURATION = float(sys.argv[2]) if len(sys.argv) > 2 else 120
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
SENTINEL, EMPTY = "sentinel" in sys.argv[4:], "empty" in sys.argv[4:]
WIDTHS = {"1s": 1_000, "5s": 5_000, "1m": 60_000}
SYMBOLS = 30
PATIENCE = 120

rng = random.Random(SEED)
home = Path(tempfile.mkdtemp(prefix="klines-cluster-"))
running, runs = {}, collections.Counter()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


PORTS = {name: free_port() for name in ("redis-1", "redis-2", "sentinel", "exchange")}


def start(name, arguments, environment=None):
    runs[name] += 1
    with open(home / f"{name}.{runs[name]}.out", "wb") as out, open(home / f"{name}.log", "ab") as log:
        running[name] = subprocess.Popen(arguments, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                         env={"PATH": os.environ["PATH"], **(environment or {})})


def stop(name, how=signal.SIGKILL):
    process = running.pop(name)
    process.send_signal(how)
    process.wait(PATIENCE)


def redis(name, *more):
    kept = ["--appendonly", "no" if SENTINEL or EMPTY else "yes", "--appendfsync", "always"]
    start(name, ["redis-server", "--bind", "127.0.0.1", "--port", str(PORTS[name]), "--save", "", "--dir", str(home), *kept, *more])


def variables(role, name):
    address = "redis://main" if SENTINEL else f"redis://127.0.0.1:{PORTS['redis-1']}"
    found = {"CLUSTER_ROLE": role, "CLUSTER_NODE": name, "KLINES_CONFIG": str(home / "klines.toml"),
             "BYBIT_WS_URL": f"ws://127.0.0.1:{PORTS['exchange']}", "BYBIT_REST_URL": f"http://127.0.0.1:{PORTS['exchange']}"}
    if role != "all":
        found["CLUSTER_REDIS_URL"] = address
        if SENTINEL:
            found["CLUSTER_SENTINELS"] = f"redis://127.0.0.1:{PORTS['sentinel']}"
    return found


def node(name, role):
    start(name, [str(PROGRAM), "run", "--data-dir", str(home / name)], variables(role, name))


def is_healthy():
    status = subprocess.run([str(PROGRAM), "cluster", "status", "--json"], env=variables("ingest", "status"),
                            capture_output=True, text=True)
    if not status.stdout:
        return False
    members = {member["name"] for member in json.loads(status.stdout)["members"]}
    return status.returncode == 0 and members == set(INGEST + GATEWAYS)


def until_healthy():
    deadline = time.monotonic() + PATIENCE
    while not is_healthy():
        assert time.monotonic() < deadline, f"the cluster is not whole after {PATIENCE} s; see {home}"
        time.sleep(0.5)


INGEST, GATEWAYS = ["ingest-1", "ingest-2", "ingest-3"], ["gateway-1", "gateway-2"]


def kill(name, role):
    stop(name)
    time.sleep(rng.uniform(0, 8))
    node(name, role)


def pause(name):
    running[name].send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 9))
    running[name].send_signal(signal.SIGCONT)


def leave(name):
    stop(name, signal.SIGTERM)
    node(name, "ingest")


def lose_redis():
    master = next(name for name in ("redis-1", "redis-2") if name in running and (not SENTINEL or is_master(name)))
    stop(master)
    time.sleep(rng.uniform(0, 4))
    if not SENTINEL:
        return redis(master)
    other = "redis-2" if master == "redis-1" else "redis-1"
    deadline = time.monotonic() + PATIENCE
    while not is_master(other):
        assert time.monotonic() < deadline, "nobody is promoted"
        time.sleep(0.2)
    redis(master, "--replicaof", "127.0.0.1", str(PORTS[other]))
    # The Sentinel and the new master know the replica again.
    time.sleep(3)


def is_master(name):
    command = ["redis-cli", "-p", str(PORTS[name]), "info", "replication"]
    return "role:master" in subprocess.run(command, capture_output=True, text=True).stdout


FAULTS = [("kill an ingest node", lambda: kill(rng.choice(INGEST), "ingest")), ("kill a gateway", lambda: kill(rng.choice(GATEWAYS), "serve")),
          ("stop an ingest node for a while", lambda: pause(rng.choice(INGEST))), ("stop a gateway for a while", lambda: pause(rng.choice(GATEWAYS))),
          ("restart an ingest node", lambda: leave(rng.choice(INGEST))), ("lose the master of Redis", lose_redis)]


def klines(name, run):
    for line in open(home / f"{name}.{run}.out", "rb"):
        try:
            yield json.loads(line)
        except ValueError:
            # The last line of a process that was killed.
            pass


def content(kline):
    return tuple((key, value) for key, value in sorted(kline.items()) if key not in ("sequence", "emitted", "revision"))


def identity(kline):
    return kline["symbol"], kline["interval"], kline["start"]


def check():
    faults = []
    truth = {identity(kline): kline for kline in klines("alone", 1) if kline["confirm"]}
    everywhere, starts = {}, {}
    for gateway in GATEWAYS:
        found, newest = collections.defaultdict(set), {}
        for run in range(1, runs[gateway] + 1):
            here, last = set(), {}
            for kline in klines(gateway, run):
                series, key = identity(kline)[:2], (*identity(kline), kline["revision"])
                if key in here:
                    faults.append(f"{gateway}: twice in one process: {key}")
                here.add(key)
                if everywhere.setdefault(key, content(kline)) != content(kline) and not EMPTY:
                    faults.append(f"{gateway}: two contents: {key}")
                if kline["sequence"] != last.get(series, kline["sequence"] - 1) + 1 and not EMPTY:
                    faults.append(f"{gateway}: {last[series]} is followed by {kline['sequence']}: {key}")
                last[series] = kline["sequence"]
                found[series].add(kline["start"])
                newest[identity(kline)] = kline
        for kline in newest.values():
            real = truth.get(identity(kline))
            if kline["quality"] == "complete" and real and real["quality"] == "complete":
                compared[gateway] += 1
                if content(kline) != content(real):
                    faults.append(f"{gateway}: not what was traded: {kline} instead of {real}")
        starts[gateway] = found
        for (symbol, interval), windows in found.items():
            width = WIDTHS[interval]
            missing = [start for start in range(min(windows), max(windows), width) if start not in windows]
            faults += [f"{gateway}: {symbol} {interval} {start} is missing" for start in missing]
    for series, windows in starts[GATEWAYS[0]].items():
        other = starts[GATEWAYS[1]].get(series, set())
        both = range(max(min(windows), min(other, default=0)), min(max(windows), max(other, default=0)))
        faults += [f"{series} {start} is at one gateway only" for start in windows ^ other if start in both]
    return faults, len(everywhere)


compared = collections.Counter()


def main():
    print(f"seed {SEED}, in {home}")
    (home / "klines.toml").write_text("""
[exchange]
load_all = true
[klines]
intervals = ["1s", "5s", "1m"]
[consumers.console.settings]
show = "closed"
format = "json"
""")
    redis("redis-1")
    if SENTINEL:
        redis("redis-2", "--replicaof", "127.0.0.1", str(PORTS["redis-1"]))
        (home / "sentinel.conf").write_text(
            f"port {PORTS['sentinel']}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {PORTS['redis-1']} 1\n"
            "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n")
        time.sleep(1)
        start("sentinel", ["redis-server", str(home / "sentinel.conf"), "--sentinel"])
    start("exchange", [str(PROGRAM), "simulate", "--symbols", str(SYMBOLS), "--listen", f"127.0.0.1:{PORTS['exchange']}"])
    time.sleep(1)
    node("alone", "all")
    for name in INGEST:
        node(name, "ingest")
    for name in GATEWAYS:
        node(name, "serve")
    until_healthy()
    made, end = collections.Counter(), time.monotonic() + DURATION
    while time.monotonic() < end:
        time.sleep(rng.uniform(1, 5))
        what, fault = rng.choice(FAULTS)
        print(f"{time.strftime('%X')} {what}", flush=True)
        fault()
        made[what] += 1
        until_healthy()
    time.sleep(5)
    for name in [*GATEWAYS, *INGEST, "alone"]:
        stop(name, signal.SIGTERM)
    faults, count = check()
    for what, times in sorted(made.items()):
        print(f"{times:4} {what}")
    print(f"{count} klines, compared with what was traded: {sum(compared.values())}; wrong: {len(faults)}")
    for fault in faults[:20]:
        print("  " + fault)
    return faults


wrong = True
try:
    wrong = bool(main())
finally:
    for process in running.values():
        process.kill()
    if not wrong:
        shutil.rmtree(home)
sys.exit(wrong)
