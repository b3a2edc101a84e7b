"""A new project in each language, made, built, tested and run by the commands that its first page shows."""

import json
import re
import resource
import time
from datetime import datetime

from places import LANGUAGES, Run, eventually, folder, typed

# The size of batches in a busy market; the time of a call is divided by it.
BATCH = 64
BENCH = """
[input]
market = { seed = 7, seconds = 1200, symbols = ["BTCUSDT", "ETHUSDT"] }
intervals = ["1s"]
batch = %d
""" % BATCH

rows = []


def as_typed(language):
    def test():
        home = folder / "new" / language
        home.mkdir(parents=True)
        demo = home / "demo"
        times = []
        for line, cwd in [
            (f"klines consumer new demo --lang {language}", home),
            ("klines consumer build", demo),
            ("klines consumer test", demo),
        ]:
            said, seconds = typed(line, cwd, language)
            times.append(seconds)
        assert b"wasi:http/" not in demo.joinpath("demo.wasm").read_bytes(), "it imports HTTP, which it does not use"
        run = Run(demo, "--for", "10s")
        eventually("a kline in the guest", lambda: run.metric("klines_consumer_klines_total", "demo") > 0)
        first = time.monotonic() - run.begun
        eventually("an emitted value", lambda: run.metric("klines_consumer_emitted_values_total", "demo") > 0)
        log = run.end()
        assert run.said("averaging closes", "demo"), log
        klines = int(re.search(r"^demo: (\d+) klines? delivered \(stopped\)$", log, re.MULTILINE)[1])
        assert klines >= 10, log
        rows.append(_measurements(language, demo, sum(times) + first, times))
        print(f"  {klines} klines, the first {sum(times) + first:.1f} s after the first command")

    test.__name__ = language
    test.__doc__ = f"a new {language} project builds, passes its test and gets klines"
    return test


def _compiling(cwd):
    """Returns the seconds of CPU time of `klines check`, which compiles the components in the configuration."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    typed("klines check --config klines.toml", cwd)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _measurements(language, demo, total, times):
    component = demo / "demo.wasm"
    bench = demo / "tests/bench.toml"
    bench.write_text(BENCH)
    said, _ = typed("klines consumer test --case bench --json", demo)
    case = json.loads(said[said.index("{"):])
    case = case.get("cases", [case])[0]
    # The second run finds the code compiled: only creating, setting up and starting the instance remain.
    run = Run(demo)
    eventually("the guest's start", lambda: run.said("consumer started", "demo"))
    # Once it has subscribed, it handles signals.
    eventually("the feed", lambda: run.said("subscribed"))
    start = _between(run, "exchange open", "consumer started")
    run.stop()
    return {
        "language": language,
        "first kline": f"{total:.1f} s",
        "of it build": f"{times[1]:.1f} s",
        "component": f"{component.stat().st_size / 1000:,.0f} KB",
        "compile": f"{_compiling(demo):.1f} s",
        "start": f"{start} ms",
        "a kline": f"{case['call_us']['p50'] / BATCH:.2f} µs",
        "memory": f"{case['memory'] / 2**20:.1f} MiB",
    }


def _between(run, first, last):
    when = {}
    for line in run.lines():
        if line.get("message") == first or (line.get("message") == last and line.get("consumer") == "demo"):
            when[line["message"]] = datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))
    return round((when[last] - when[first]).total_seconds() * 1000)


def table():
    """Prints the measurements, one row for each language."""
    if not rows:
        return
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(row[name] for name in names) + " |")


TESTS = [as_typed(language) for language in LANGUAGES]
