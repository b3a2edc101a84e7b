"""The container image: as a user without rights, with a root file system that nobody can write to, and with its health check."""

import gzip
import resource
import subprocess
from pathlib import Path

import release
from journey import Place, travel

# runc runs in places where crun does not, such as with both versions of cgroups.
STORAGE = ["--runtime=runc", "--root", str(Path("target/dist-test/containers").absolute()), "--runroot", "/run/klines-test-containers", "--storage-driver", "vfs"]
# podman asks for more than root may have where it is confined itself.
LIMITS = [f"--ulimit=nofile={(files := resource.getrlimit(resource.RLIMIT_NOFILE)[1])}:{files}", "--ulimit=nproc=1000:1000"]
NAME = "klines-test"
STRICT = ["--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host"]


def podman(*words, check=True, stdin=b""):
    """Runs podman to its end, with a storage of its own. Returns its output."""
    done = subprocess.run(["podman", *STORAGE, *words], input=stdin, capture_output=True, check=False)
    assert not check or done.returncode == 0, f"podman {' '.join(words)}: {done.returncode}\n{done.stderr.decode()}"
    return done.stdout.decode()


def container(variables):
    """Returns the command line of a container."""
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["podman", *STORAGE, "run", "--rm", "--name", NAME, *STRICT, *LIMITS, *given, f"klines:{release.VERSION}"]


class Container(Place):
    """A place whose health is asked for as well."""

    def healthy(self):
        """Asserts that the health check passes."""
        podman("healthcheck", "run", NAME)


def image():
    """The image of this machine."""
    package = release.package(f"klines-*-{release.MACHINE}-image.tar.gz")
    with gzip.open(package) as archive:
        podman("load", "--quiet", stdin=archive.read())
    try:
        assert podman("image", "inspect", "--format", "{{.User}}", f"klines:{release.VERSION}").strip() == "65532:65532"
        said = travel(place := Container(container), release.VERSION)
    finally:
        podman("rm", "--force", "--all", check=False)
        podman("rmi", "--force", "--all", check=False)
    return package, said, place.figures
