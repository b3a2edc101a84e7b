"""The packages for arm64: the program runs in an emulator, alone in a folder, and every package contains this very program.

The folder has no /proc, because the one of an emulated process describes the emulator. Starting the program from itself, which is how
it compiles components, works by the kernel's binfmt_misc, in which the emulator is registered while the test runs.
"""

import contextlib
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

import release
from journey import Place, travel

EMULATOR = Path("target/dist-test/qemu-user-static/usr/bin/qemu-aarch64-static").absolute()
BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = "klines-test-aarch64"
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
USER = 65532


@contextlib.contextmanager
def emulation():
    """Registers the emulator."""
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
    # F: the file is opened now, so that it is found from within another root folder.
    (BINFMT / "register").write_text(f":{ENTRY}:M::{MAGIC}:{MASK}:{EMULATOR}:F")
    try:
        yield
    finally:
        (BINFMT / ENTRY).write_text("-1")


def of_archive():
    """Returns the program of the archive."""
    with tarfile.open(release.package("klines-*-aarch64-linux.tar.gz")) as archive:
        return archive.extractfile(next(name for name in archive.getnames() if name.endswith("/klines"))).read()


def of_wheel():
    """Returns the program of the wheel."""
    with zipfile.ZipFile(release.package("bybit_klines-*aarch64*.whl")) as wheel:
        return wheel.read(next(name for name in wheel.namelist() if name.endswith("/scripts/klines")))


def of_deb():
    """Returns the program of the Debian package."""
    package = str(release.package("klines_*_arm64.deb"))
    kind = subprocess.run(["dpkg-deb", "--field", package, "Architecture"], capture_output=True, text=True, check=True)
    assert kind.stdout.strip() == "arm64", kind.stdout
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        return files.extractfile("./usr/bin/klines").read()


def of_image():
    """Returns the program of the image."""
    with gzip.open(release.package("klines-*-aarch64-image.tar.gz")) as raw, tarfile.open(fileobj=io.BytesIO(raw.read())) as image:
        manifest = json.load(image.extractfile("manifest.json"))[0]
        kind = json.load(image.extractfile(manifest["Config"]))
        assert kind["architecture"] == "arm64", kind
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                if "usr/bin/klines" in layer.getnames():
                    return layer.extractfile("usr/bin/klines").read()
    raise AssertionError("no layer has the program")


def arm64():
    """The program for arm64, and its packages."""
    program = of_archive()
    digest = hashlib.sha256(program).hexdigest()
    for other in (of_wheel, of_deb, of_image):
        assert hashlib.sha256(other()).hexdigest() == digest, other.__doc__
    with tempfile.TemporaryDirectory(dir="target/dist-test") as root, emulation():
        os.chown(root, USER, USER)
        (temporary := Path(root, "tmp")).mkdir()
        temporary.chmod(0o777)
        Path(root, "etc").mkdir()
        Path(root, "etc/hosts").write_text("127.0.0.1 localhost\n")
        path = Path(root, "klines")
        path.write_bytes(program)
        path.chmod(0o755)

        def command(variables):
            given = [f"{name}={value}" for name, value in variables.items()]
            return ["env", "-i", *given, "/usr/sbin/chroot", f"--userspec={USER}:{USER}", root, "/klines"]

        said = travel(place := Place(command), release.VERSION)
        return release.package("klines-*-aarch64-linux.tar.gz"), said, place.figures
