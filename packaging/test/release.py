"""What belongs to the whole release: its version, the checksums, the SBOM and the notices."""

import gzip
import hashlib
import json
import platform
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

DIST = Path("target/dist")
WORKSPACE = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]
# The names that Python and Debian have for this machine.
MACHINE = platform.machine()
DEBIAN_MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[MACHINE]
VERSION = WORKSPACE["package"]["version"]


def package(pattern):
    """Returns the only file of the release with such a name."""
    found = list(DIST.glob(pattern))
    assert len(found) == 1, f"target/dist has {len(found)} files {pattern}: type `make dist`"
    return found[0]


def checksums():
    """Every file has a checksum, and it is right."""
    lines = (DIST / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {path.name for path in DIST.iterdir()} - {"SHA256SUMS"}
    assert set(listed) == there, set(listed) ^ there
    for name, digest in listed.items():
        assert hashlib.sha256((DIST / name).read_bytes()).hexdigest() == digest, name
    return None, f"{len(listed)} files", {}


def locked():
    """Returns name and version of the crates that the program for this machine is made of."""
    tree = f"cargo tree --locked -p klines --edges normal --target {MACHINE}-unknown-linux-musl --prefix none --format {{p}}"
    lines = subprocess.run(tree.split(), capture_output=True, text=True, check=True).stdout.splitlines()
    return {tuple(line.split(" ")[:2]) for line in lines if line}


def sbom():
    """The SBOM is CycloneDX and names every crate of the program."""
    path = package("*.cdx.json")
    content = json.loads(path.read_text())
    assert content["bomFormat"] == "CycloneDX" and content["metadata"]["component"]["name"] == "klines"
    named = {(part["name"], f"v{part['version']}") for part in content["components"]}
    missing = {crate for crate in locked() if crate[0] != "klines"} - named
    assert not missing, missing
    return path, f"{len(named)} components, CycloneDX {content['specVersion']}", {}


def notices():
    """The notices name every crate of the program that is not ours, and each package contains them."""
    path = DIST / "THIRD-PARTY-NOTICES.txt"
    text = path.read_text()
    ours = re.compile(r"^(klines|bybit-sim)")
    missing = [crate for crate, version in sorted(locked()) if not ours.match(crate) and f" {crate} {version[1:]}" not in text]
    assert not missing, missing
    for name in DIST.glob("klines-*-linux.tar.gz"):
        with gzip.open(name) as raw, tarfile.open(fileobj=raw) as archive:
            inside = [member for member in archive.getnames() if member.endswith("/THIRD-PARTY-NOTICES.txt")]
            assert archive.extractfile(inside[0]).read() == path.read_bytes(), name
    return path, "in every package", {}
