"""Runs the tests in sequence, prints what each reports, goes on after a failure, and prints the table."""

import sys
import time
import traceback
from pathlib import Path

import places

places.program = Path(sys.argv[1])

import mistakes
import mixed
import past
import shelf
import typed
import webhooks

MODULES = [typed, shelf, mistakes, mixed, past, webhooks]


def main(chosen):
    tests = [(f"{module.__name__}.{test.__name__}", test) for module in MODULES for test in module.TESTS]
    chosen_tests = [(name, test) for name, test in tests if not chosen or any(part in name for part in chosen)]
    assert chosen_tests, f"no test is called {chosen}; there are {[name for name, _ in tests]}"
    failed = []
    for name, test in chosen_tests:
        print(f"-- {name}: {test.__doc__}", flush=True)
        start = time.monotonic()
        try:
            test()
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"   {'failed' if name in failed else 'passed'} in {time.monotonic() - start:.1f} s", flush=True)
    typed.table()
    print(f"{len(chosen_tests) - len(failed)} passed, {len(failed)} failed{': ' if failed else ''}{', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:][1:]))
