"""Breaks a cluster at random, by seed, and checks every kline that its gateways hand on, and every state of its workers.

    python3 cluster.py PROGRAM [SECONDS] [SEED] [sentinel|empty] [cut]

Starts a simulated exchange, Redis, three ingest nodes, two gateways, two workers with a component that records every kline in its
state, and one process without a cluster that nobody disturbs. Until the time is over, it kills and stops nodes, and kills Redis: it
comes back with its data, with `empty` without any, or with `sentinel` a replica is promoted by a real Sentinel. With `cut` (as root)
each node is in a network namespace of its own, which is cut off from time to time.

At the end it compares what the gateways have printed, also over their restarts: no window between others is missing, none comes
twice in one process, both gateways have the same windows, and the newest revision of what is `complete` is what the undisturbed
process says; unless Redis comes back empty, no kline has two contents under one revision, and sequences have no hole. The state of each
partition has every kline of its stream from its first one up to the acknowledged position, once, and nothing else. Exits with 1 if
not. The component is built by `make components`.
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
SENTINEL, EMPTY, CUT = (word in sys.argv[4:] for word in ("sentinel", "empty", "cut"))
LEDGER = Path(__file__).resolve().parents[2] / "target/guests/wasm32-wasip2/guest/ledger_guest.wasm"
PARTITIONS = 64
WIDTHS = {"1s": 1_000, "5s": 5_000, "1m": 60_000}
SYMBOLS = 30
PATIENCE = 120

rng = random.Random(SEED)
home = Path(tempfile.mkdtemp(prefix="klines-cluster-"))
running, runs = {}, collections.Counter()


# With namespaces, a bridge has this address, and each node another one of its network.
NETWORK, BRIDGE = "10.213.77", "klines-br"
ADDRESS = f"{NETWORK}.1" if CUT else "127.0.0.1"


def ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, capture_output=not check)


def make_network():
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{ADDRESS}/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for number, name in enumerate(NODES, 2):
        ip("netns", "add", f"klines-{name}")
        ip("link", "add", f"kl-{number}", "type", "veth", "peer", "name", "eth0", "netns", f"klines-{name}")
        ip("link", "set", f"kl-{number}", "master", BRIDGE, "up")
        inside = ["-n", f"klines-{name}"]
        ip(*inside, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        ip(*inside, "link", "set", "eth0", "up")
        ip(*inside, "link", "set", "lo", "up")


def remove_network():
    for name in NODES:
        ip("netns", "del", f"klines-{name}", check=False)
    ip("link", "del", BRIDGE, check=False)


def free_port():
    with socket.create_server((ADDRESS, 0)) as found:
        return found.getsockname()[1]


INGEST, GATEWAYS, WORKERS = ["ingest-1", "ingest-2", "ingest-3"], ["gateway-1", "gateway-2"], ["worker-1", "worker-2"]
NODES = INGEST + GATEWAYS + WORKERS
if CUT:
    remove_network()
    make_network()
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
    start(name, ["redis-server", "--bind", ADDRESS, "--protected-mode", "no", "--port", str(PORTS[name]), "--save", "", "--dir", str(home), *kept, *more])


def variables(role, name):
    address = "redis://main" if SENTINEL else f"redis://{ADDRESS}:{PORTS['redis-1']}"
    found = {"CLUSTER_ROLE": role, "CLUSTER_NODE": name, "KLINES_CONFIG": str(home / "klines.toml"),
             "BYBIT_WS_URL": f"ws://{ADDRESS}:{PORTS['exchange']}", "BYBIT_REST_URL": f"http://{ADDRESS}:{PORTS['exchange']}"}
    if role != "all":
        found["CLUSTER_REDIS_URL"] = address
        if SENTINEL:
            found["CLUSTER_SENTINELS"] = f"redis://{ADDRESS}:{PORTS['sentinel']}"
    return found


def node(name, role):
    inside = ["ip", "netns", "exec", f"klines-{name}"] if CUT and role != "all" else []
    consumers = {"ENABLED_CONSUMERS": "ledger"} if name in WORKERS else {}
    start(name, [*inside, str(PROGRAM), "run", "--data-dir", str(home / name)], {**variables(role, name), **consumers})


def is_healthy():
    status = subprocess.run([str(PROGRAM), "cluster", "status", "--json"], env=variables("ingest", "status"),
                            capture_output=True, text=True)
    if not status.stdout:
        return False
    members = {member["name"] for member in json.loads(status.stdout)["members"]}
    return status.returncode == 0 and members == set(NODES)


def until_healthy():
    deadline = time.monotonic() + PATIENCE
    while not is_healthy():
        assert time.monotonic() < deadline, f"the cluster is not whole after {PATIENCE} s; see {home}"
        time.sleep(0.5)


def kill(name, role):
    stop(name)
    time.sleep(rng.uniform(0, 8))
    node(name, role)


def pause(name):
    running[name].send_signal(signal.SIGSTOP)
    time.sleep(rng.uniform(1, 9))
    running[name].send_signal(signal.SIGCONT)


def leave(name, role):
    stop(name, signal.SIGTERM)
    node(name, role)


def cut(name):
    link = f"kl-{NODES.index(name) + 2}"
    ip("link", "set", link, "down")
    time.sleep(rng.uniform(1, 9))
    ip("link", "set", link, "up")


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
    # A Sentinel may promote a replica that has an old file, or has not got its data yet. That would lose more than a failover does.
    (home / "dump.rdb").unlink(missing_ok=True)
    redis(master, "--replicaof", ADDRESS, str(PORTS[other]), "--replica-priority", "0")
    while "master_link_status:up" not in info(master):
        assert time.monotonic() < deadline, "the replica does not get its data"
        time.sleep(0.2)
    subprocess.run(["redis-cli", "-h", ADDRESS, "-p", str(PORTS[master]), "config", "set", "replica-priority", "100"], capture_output=True)
    # The Sentinel sees that within ten seconds.
    time.sleep(10)


def info(name):
    command = ["redis-cli", "-h", ADDRESS, "-p", str(PORTS[name]), "info", "replication"]
    return subprocess.run(command, capture_output=True, text=True).stdout


def is_master(name):
    return "role:master" in info(name)


FAULTS = [("kill an ingest node", lambda: kill(rng.choice(INGEST), "ingest")), ("kill a gateway", lambda: kill(rng.choice(GATEWAYS), "serve")),
          ("stop an ingest node for a while", lambda: pause(rng.choice(INGEST))), ("stop a gateway for a while", lambda: pause(rng.choice(GATEWAYS))),
          ("kill a worker", lambda: kill(rng.choice(WORKERS), "serve")), ("stop a worker for a while", lambda: pause(rng.choice(WORKERS))),
          ("restart an ingest node", lambda: leave(rng.choice(INGEST), "ingest")), ("restart a worker", lambda: leave(rng.choice(WORKERS), "serve")),
          ("lose the master of Redis", lose_redis)]
if CUT:
    FAULTS += [(f"cut off {what}", lambda names=names: cut(rng.choice(names)))
               for what, names in (("an ingest node", INGEST), ("a gateway", GATEWAYS), ("a worker", WORKERS))]


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


def ask(*words):
    master = next(name for name in ("redis-1", "redis-2") if name in running and is_master(name))
    command = ["redis-cli", "-h", ADDRESS, "-p", str(PORTS[master]), "--json", *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def order(entry):
    return tuple(map(int, entry.split("-")))


def check_states():
    """Compares the state of each partition with its stream."""
    faults, count = [], 0
    for partition in range(PARTITIONS):
        key = f"{{klines:main:{partition}}}"
        state, record = ask("HGETALL", f"{key}:state:ledger"), ask("HGET", f"{key}:groups", "ledger")
        recorded = {tuple(field.split("/")[2:]) for field in state if field.startswith("=kline/")}
        doubles, counted = int(state.get("=doubles", 0)), int(state.get("=count", 0))
        if doubles or counted != len(recorded):
            faults.append(f"partition {partition}: {counted} counted, {len(recorded)} recorded, {doubles} twice")
        published = []
        for entry, fields in ask("XRANGE", f"{key}:stream", "-", "+"):
            pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2])
            published += [(order(entry), (*name.split(" ")[1:], value.split(" ")[0])) for name, value in pairs if name != "epoch"]
        first = min((entry for entry, one in published if one in recorded), default=None)
        position = order(record.split(" ")[5]) if record else (0, 0)
        expected = {one for entry, one in published if first and first <= entry <= position}
        faults += [f"partition {partition}: {one} was published and is not in the state" for one in expected - recorded]
        faults += [f"partition {partition}: {one} is in the state and was not published" for one in recorded - expected]
        count += counted
    return faults, count


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
[consumers.ledger]
component = "%s"
""" % LEDGER)
    redis("redis-1")
    if SENTINEL:
        redis("redis-2", "--replicaof", ADDRESS, str(PORTS["redis-1"]))
        (home / "sentinel.conf").write_text(
            f"port {PORTS['sentinel']}\nbind {ADDRESS}\nprotected-mode no\nsentinel monitor main {ADDRESS} {PORTS['redis-1']} 1\n"
            "sentinel down-after-milliseconds main 2000\nsentinel failover-timeout main 5000\n")
        time.sleep(1)
        start("sentinel", ["redis-server", str(home / "sentinel.conf"), "--sentinel"])
    start("exchange", [str(PROGRAM), "simulate", "--symbols", str(SYMBOLS), "--listen", f"{ADDRESS}:{PORTS['exchange']}"])
    time.sleep(1)
    node("alone", "all")
    for name in INGEST:
        node(name, "ingest")
    for name in GATEWAYS + WORKERS:
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
    for name in [*WORKERS, *GATEWAYS, *INGEST, "alone"]:
        stop(name, signal.SIGTERM)
    faults, count = check()
    wrong_states, recorded = check_states()
    faults += wrong_states
    for what, times in sorted(made.items()):
        print(f"{times:4} {what}")
    print(f"{count} klines, compared with what was traded: {sum(compared.values())}; in states: {recorded}; wrong: {len(faults)}")
    for fault in faults[:20]:
        print("  " + fault)
    return faults


wrong = True
try:
    wrong = bool(main())
finally:
    for process in running.values():
        process.kill()
    if CUT:
        remove_network()
    if not wrong:
        shutil.rmtree(home)
sys.exit(wrong)
