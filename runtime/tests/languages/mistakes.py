"""Mistakes of newcomers and how they are reported: the message of the tool and an exit code, never a traceback."""

import json
import shutil

from places import folder, typed

# A line that is invalid in the language, and a part of the error of its tool.
SYNTAX = {
    "rust": ("src/lib.rs", "fn broken( {}", "error: "),
    "python": ("app.py", "def broken(:", "SyntaxError"),
    "javascript": ("src/app.js", "const = 5;", "/src/app.js:"),
    "typescript": ("src/app.ts", "const = 5;", "error TS"),
    "c": ("consumer.c", "int broken(;", "error: "),
    "go": ("consumer.go", "func broken( {", "syntax error"),
}


def syntax():
    """a syntax error in each language ends in its tool's message and code 1"""
    for language, (file, line, words) in SYNTAX.items():
        home = folder / "broken" / language
        home.mkdir(parents=True)
        # A project that has been built before has its dependencies ready.
        built = folder / "new" / language / "demo"
        if built.exists():
            shutil.copytree(built, home / "demo", ignore=shutil.ignore_patterns("demo.wasm"))
        else:
            typed(f"klines consumer new demo --lang {language}", home, language)
        source = home / "demo" / file
        source.write_text(f"{source.read_text()}\n{line}\n")
        said, _ = typed("klines consumer build", home / "demo", language, code=1)
        assert words in said and file.rpartition("/")[2] in said, f"{language}: {said}"
        assert not (home / "demo/demo.wasm").exists(), f"{language} left a component"
        print(f"  {language}: {next(line for line in said.splitlines() if words in line).strip()[:120]}")


def no_tools():
    """a missing tool is named with what to type"""
    for language in SYNTAX:
        home = folder / "bare" / language
        home.mkdir(parents=True)
        typed(f"klines consumer new demo --lang {language}", home, "bare")
        said, _ = typed("klines consumer build", home / "demo", "bare", code=1)
        # The tools that run, what is being installed for them, and what is missing: a line each, and no traceback.
        assert len(said.strip().splitlines()) <= 3, f"{language}: {said}"
        print(f"  {language}: {said.strip().splitlines()[-1]}")


def golden():
    """a guest that behaves differently fails its golden test with the kline and the command that repeats it"""
    home = folder / "golden"
    home.mkdir()
    typed("klines consumer new demo --lang c", home, "c")
    demo = home / "demo"
    source = demo / "consumer.c"
    text = source.read_text()
    assert "*sma /= (double)period;" in text
    source.write_text(text.replace("*sma /= (double)period;", "*sma /= (double)period - 0.001;"))
    typed("klines consumer build", demo, "c")
    said, _ = typed("klines consumer test", demo, "c", code=1)
    for words in ["at ETHUSDT 5s 2024-01-01T00:00:20Z", "-   emit sma 1922.818", "repeat: klines consumer test . --case basic --until"]:
        assert words in said, said
    print("  " + "\n  ".join(said.strip().splitlines()[:12]))


def arena():
    """a batch that does not fit into the arena of the Go shim ends in a trap, and its log says what to do"""
    home = folder / "arena"
    home.mkdir()
    typed("klines consumer new demo --lang go", home, "go")
    demo = home / "demo"
    lines = (
        json.dumps({"symbol": "BTCUSDT", "interval": "1s", "start": 1_700_000_000_000 + row * 1000, "close": "100", "confirm": True})
        for row in range(64)
    )
    (demo / "tests/klines.ndjson").write_text("\n".join(lines) + "\n")
    shim = demo / "shim/wit/runtime/runtime.go"
    text = shim.read_text()
    assert "ArenaSize = 4 << 20" in text
    # 64 klines are a list of 10,240 bytes and 448 of symbols: the first size holds only the list, the second not even that.
    for size, said in ((10_504, 'log = ["the arena is full"]'), (4_096, 'no_log = ["averaged"]')):
        shim.write_text(text.replace("ArenaSize = 4 << 20", f"ArenaSize = {size}"))
        case = f'settings = {{ period = 5 }}\n[input]\nklines = "klines.ndjson"\nbatch = 64\n[expect]\nends = "trap"\n{said}\n'
        (demo / "tests/full.toml").write_text(case)
        typed("klines consumer build", demo, "go")
        typed("klines consumer test", demo, "go")


TESTS = [syntax, no_tools, golden, arena]
