"""All examples in examples/, built and tested by the commands of their README, the one in WebAssembly text, and the gallery."""

import os
import shutil
import socket
import subprocess
import sys

import places
from places import ROOT, Run, eventually, folder, typed

# Folder below examples/, and the language whose tools it needs.
EXAMPLES = {
    "rust": "rust", "python": "python", "typescript": "typescript", "c": "c", "go": "go",
    "rsi-rust": "rust", "rsi-python": "python", "rsi-typescript": "typescript",
}  # fmt: skip


def example(name, language):
    def test():
        # A copy, so that the repository stays unchanged; the Rust examples are members of the workspace.
        home = ROOT / "examples" / name
        if language != "rust":
            home = folder / "examples" / name
            shutil.copytree(ROOT / "examples" / name, home, ignore=shutil.ignore_patterns("build", "*.wasm"))
        typed("klines consumer build", home, language)
        said, _ = typed("klines consumer test", home, language)
        print("  " + said.strip().splitlines()[0])

    test.__name__ = name.replace("-", "_")
    test.__doc__ = f"the {name} example builds and passes its cases"
    return test


def text():
    """a module written by hand becomes a working consumer"""
    home = folder / "text"
    home.mkdir()
    shutil.copy(ROOT / "examples/text/consumer.wat", home)
    typed("klines consumer build consumer.wat -o demo.wasm", home)
    home.joinpath("klines.toml").write_text(
        'enabled_consumers = ["demo"]\n[klines]\nintervals = ["1s"]\n[consumers.demo]\ncomponent = "demo.wasm"\n'
    )
    run = Run(home)
    eventually("a value of it", lambda: run.metric("klines_consumer_emitted_values_total", "demo") > 0)
    log = run.stop()
    assert run.said("begins", "demo"), log


def gallery():
    """an example gets from a registry to its first kline in three commands"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve = [ROOT / "examples/gallery.sh", places.program, str(port), "rust"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=sys.stdout, text=True, env=environment) as served:
        try:
            said = []
            for line in served.stdout:
                said.append(line)
                if line.startswith("Ctrl-C"):
                    break
            assert "1 examples are published" in "".join(said), said
            home = ROOT / "target/gallery/operator"
            shown, _ = typed("klines consumer search --index ../index.toml averages", home)
            assert ", a trusted key of gallery\n" in shown, shown
            add = next(line.split("klines ", 1)[1] for line in shown.splitlines() if line.startswith("  add "))
            typed(f"klines {add} --name crossover", home)
            run = Run(home, "--intervals", "1s")
            eventually("a kline", lambda: run.metric("klines_consumer_klines_total", "crossover") > 0)
            run.stop()
        finally:
            served.terminate()


TESTS = [*(example(name, language) for name, language in EXAMPLES.items()), text, gallery]
