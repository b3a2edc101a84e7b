"""A clean Debian in a folder: a copy of what debootstrap has made, without Rust, without this repository, thrown away after the test."""

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

BASE = Path("target/dist-test/debian")
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Debian:
    """A root folder, and how commands are run in it."""

    def __init__(self, path):
        self.path = path

    def unmount(self):
        """Unmounts /proc, if it is mounted."""
        subprocess.run(["umount", "--quiet", self.path / "proc"], check=False)

    def given(self, package):
        """Copies a file into the folder /given. Returns its path there."""
        (self.path / "given").mkdir(exist_ok=True)
        shutil.copy(package, self.path / "given")
        return f"/given/{package.name}"

    def command(self, *words, user="user"):
        """Returns what makes a command line: it runs the words as a user, in the user's home, with these variables alone."""

        def line(variables):
            home = "/root" if user == "root" else "/home/user"
            given = [f"{name}={value}" for name, value in variables.items()]
            clean = ["env", "-i", "-C", home, f"HOME={home}", f"PATH={SEARCH}"]
            return ["chroot", f"--userspec={user}:{user}", str(self.path), *clean, *given, *words]

        return line

    def run(self, *words, user="user"):
        """Runs a command to its end. Returns its output."""
        done = subprocess.run(self.command(*words, user=user)({}), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout


@contextlib.contextmanager
def debian():
    """Returns a clean Debian with a user called `user`."""
    path = Path(tempfile.mkdtemp(prefix="clean-", dir=BASE.parent)) / "root"
    root = Debian(path)
    try:
        subprocess.run(["cp", "--archive", "--reflink=auto", BASE, path], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", path / "proc"], check=True)
        # The installer writes it; debootstrap does not.
        (path / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        root.run("useradd", "--create-home", "user", user="root")
        yield root
    finally:
        root.unmount()
        # Never across a file system that is still mounted.
        subprocess.run(["rm", "-r", "--one-file-system", path.parent], check=False)
