"""Runs the tests in sequence, prints what each reports, and stops at the first failure with the server's log."""

import sys
import time
import traceback
from pathlib import Path

import service

service.program = Path(sys.argv[1])

import abuse
import chart
import crowds
import encryption
import examples
import frames
import readers
import stock_ccxt
import stock_pybit
import streamer

MODULES = [stock_pybit, stock_ccxt, streamer, abuse, crowds, encryption, examples, frames, readers, chart]


def check_canary(watch):
    """the key is in no log and on no command line"""
    watch.end()
    assert watch.looks > 0 and not watch.seen, f"on the command line of {watch.seen}"
    texts = {file: file.read_text(errors="replace") for file in set(service.Klines.logs)}
    leaks = [str(file) for file, text in texts.items() if service.KEY in text or service.KEY[:20] in text]
    assert not leaks, f"in {leaks}"
    total = sum(len(text) for text in texts.values())
    print(f"  {total:,} bytes in {len(texts)} logs, and {watch.looks} looks at all command lines")


def main(chosen):
    tests = [(f"{module.__name__}.{test.__name__}", test) for module in MODULES for test in module.TESTS]
    chosen_tests = [(name, test) for name, test in tests if not chosen or any(part in name for part in chosen)]
    assert chosen_tests, f"no test is called {chosen}; there are {[name for name, _ in tests]}"
    watch = service.Watch()
    chosen_tests.append(("main.check_canary", lambda: check_canary(watch)))
    chosen_tests[-1][1].__doc__ = check_canary.__doc__
    passed = 0
    for name, test in chosen_tests:
        print(f"-- {name}: {test.__doc__}", flush=True)
        start = time.monotonic()
        try:
            test()
        except BaseException:
            traceback.print_exc()
            logs = [klines.log_file for klines in service.Klines.alive] or service.Klines.logs[-1:]
            for klines in list(service.Klines.alive):
                klines.release()
            for log in logs:
                lines = log.read_text(errors="replace").splitlines()
                print(f"-- the last lines of {log}", *lines[-60:], sep="\n", file=sys.stderr)
            print(f"-- {name} failed\n{passed} passed, 1 failed")
            return 1
        passed += 1
        print(f"   passed in {time.monotonic() - start:.1f} s", flush=True)
    print(f"{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
