#!/usr/bin/env python3
"""What can be said of the packages within a second, without building them: the versions agree, the files that they are made of parse
and name files that exist, and systemd finds nothing wrong with the unit. Takes the tag of a release, if there is one.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

# The most that systemd-analyze may report; 0 is a service that can do nothing, 10 one that can do everything.
EXPOSURE = 3.0


def versions(tag):
    """The newest entry of the changelog is that of the version in Cargo.toml, and a tag is its name."""
    version = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["version"]
    heading = re.search(r"^## .*$", Path("CHANGELOG.md").read_text(), re.MULTILINE).group()
    accepted = [f"## [Unreleased] - {version}", *re.findall(rf"## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading)]
    assert heading in accepted, f"CHANGELOG.md begins with `{heading}`, but Cargo.toml has version {version}"
    if tag:
        assert tag == f"v{version}", f"the tag is {tag}, but Cargo.toml has version {version}"
        assert "Unreleased" not in heading, f"CHANGELOG.md has no date for {version}"


def commit():
    """A source archive knows the commit that it was made of, and so does the clone."""
    known = subprocess.run("packaging/commit", capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"[0-9a-f]{9}(-dirty)? \d{4}-\d\d-\d\d\n", known), f"packaging/commit printed {known!r}"
    if not Path(".git").exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", "HEAD", "packaging"], capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", folder], input=archive, check=True)
        archived = subprocess.run([f"{folder}/packaging/commit"], capture_output=True, text=True, check=True).stdout
    assert archived == known.replace("-dirty", ""), f"{archived!r} in an archive of {known!r}"


def wheel():
    """The metadata of the wheel parse and say what users type."""
    project = tomllib.loads(Path("packaging/pyproject.toml").read_text())
    assert (project["project"]["name"], project["tool"]["maturin"]["bindings"]) == ("bybit-klines", "bin")


def licences():
    """The notices accept exactly the licences that `make check` does."""
    denied = tomllib.loads(Path("deny.toml").read_text())["licenses"]["allow"]
    noticed = tomllib.loads(Path("packaging/notices/about.toml").read_text())["accepted"]
    assert set(denied) == set(noticed), set(denied) ^ set(noticed)


def deb():
    """The Debian package names files that exist, except those that are built, and has every one of its configuration."""
    metadata = tomllib.loads(Path("runtime/Cargo.toml").read_text())["package"]["metadata"]["deb"]
    sources = [source for source, _, _ in metadata["assets"] if not re.match(r"(\.\./)?target/", source)]
    missing = [source for source in sources if not list(Path("runtime").glob(source))]
    assert not missing, missing
    placed = {f"/{target}{Path(source).name}" for source, target, _ in metadata["assets"] if target.startswith("etc/")}
    assert placed == set(metadata["conf-files"]), placed


def unit():
    """systemd understands every line of the unit, and finds the service little exposed."""
    unit = Path("packaging/debian/klines.service").read_text()
    with tempfile.TemporaryDirectory() as folder:
        # The program is not installed here.
        there = Path(folder, "klines.service")
        there.write_text(unit.replace("/usr/bin/klines", "/bin/true").replace("file:///usr/share/doc/klines", "file:///"))
        verified = subprocess.run(["systemd-analyze", "verify", "--man=no", there], capture_output=True, text=True, check=False)
        complaints = [line for line in verified.stderr.splitlines() if "klines.service" in line]
        assert not complaints, complaints
        line = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", there]
        judged = subprocess.run(line, capture_output=True, text=True, check=False)
    verdict = (judged.stdout.strip().splitlines() or [judged.stderr])[-1]
    assert judged.returncode == 0, verdict
    print(verdict)


def main(tag):
    """Makes all checks. The first one that fails ends it."""
    versions(tag)
    commit()
    wheel()
    licences()
    deb()
    unit()


if __name__ == "__main__":
    main("".join(sys.argv[1:]))
