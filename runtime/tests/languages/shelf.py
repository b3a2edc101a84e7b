"""All examples in examples/, built and tested by the commands of their README, and the one in WebAssembly text."""

import shutil

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


TESTS = [*(example(name, language) for name, language in EXAMPLES.items()), text]
