"""Tests of what `make dist` has made: each package is installed in a clean place and used there.

Prints a table of sizes and times. A test is a function of this module or of its neighbours; its name is that of the package.
"""

import subprocess
import sys
import traceback
from pathlib import Path

import arm64
import image
import release
import service
from clean import debian
from journey import Place, travel


def archive():
    """The archive, unpacked in a Debian that has nothing else."""
    package = release.package(f"klines-*-{release.MACHINE}-linux.tar.gz")
    with debian() as root:
        root.run("tar", "--extract", "--file", root.given(package), "--directory", "/home/user", "--strip-components=1")
        return package, travel(place := Place(root.command("/home/user/klines")), release.VERSION), place.figures


def wheel_pip():
    """The wheel, installed by pip in a virtual environment."""
    package = release.package(f"bybit_klines-*{release.MACHINE}*.whl")
    with debian() as root:
        root.run("python3", "-m", "venv", "/home/user/venv")
        root.run("/home/user/venv/bin/pip", "install", "--quiet", "--no-index", root.given(package))
        said = travel(place := Place(root.command("/home/user/venv/bin/klines")), release.VERSION)
        root.run("/home/user/venv/bin/pip", "uninstall", "--quiet", "--yes", "bybit-klines")
        assert not (root.path / "home/user/venv/bin/klines").exists()
        return package, said, place.figures


def wheel_uvx():
    """The same wheel, run by uvx without being installed."""
    package = release.package(f"bybit_klines-*{release.MACHINE}*.whl")
    with debian() as root:
        root.given(package)
        uv = [root.given(wheel) for wheel in Path("target/dist-test/wheels").glob("uv-*.whl")]
        root.run("python3", "-m", "venv", "/home/user/venv")
        root.run("/home/user/venv/bin/pip", "install", "--quiet", "--no-index", *uv)
        uvx = "/home/user/venv/bin/uvx --offline --no-index --find-links /given --from bybit-klines klines"
        said = travel(place := Place(root.command(*uvx.split())), release.VERSION)
        return package, said, place.figures


TESTS = {
    "archive": archive,
    "wheel_pip": wheel_pip,
    "wheel_uvx": wheel_uvx,
    "deb": service.deb,
    "service": service.service,
    "image": image.image,
    "arm64": arm64.arm64,
    "checksums": release.checksums,
    "sbom": release.sbom,
    "notices": release.notices,
}


def main(names):
    """Runs the tests and returns the exit code."""
    unknown = [name for name in names if name not in TESTS]
    assert not unknown, f"no test is called {', '.join(unknown)}: {', '.join(TESTS)}"
    failed = []
    print(f"{'test':<10} {'MB':>6} {'start':>9} {'1st kline':>9} {'stop':>6}")
    for name in names or TESTS:
        try:
            package, said, figures = TESTS[name]()
            seconds = [f"{figures[key]:.2f} s" if key in figures else "" for key in ("version", "kline", "stop")]
            size = f"{package.stat().st_size / 1e6:.1f}" if package else ""
            print(f"{name:<10} {size:>6} {seconds[0]:>9} {seconds[1]:>9} {seconds[2]:>6}  {said}", flush=True)
        except (AssertionError, OSError, subprocess.SubprocessError):
            traceback.print_exc()
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
