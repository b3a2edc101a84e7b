"""The Debian package: the command in a clean Debian, and the service there under systemd itself, which applies the restrictions of
the unit. systemd-nspawn boots that Debian; on this machine systemd need not run.
"""

import contextlib
import subprocess
import threading
import time
from pathlib import Path

import release
from clean import SEARCH, debian
from journey import KEY, PATIENCE, USER, Place, free_port, listen, travel

TOML = """\
enabled_consumers = ["console", "websocket"]
data_dir = "/var/lib/klines"

[exchange]
ws_url = "ws://127.0.0.1:{exchange}"
rest_url = "http://127.0.0.1:{exchange}"

[klines]
intervals = ["1s"]

[websocket]
port = {port}
"""


def deb():
    """The command of the package; and that a purge leaves nothing."""
    package = release.package(f"klines_*_{release.DEBIAN_MACHINE}.deb")
    with debian() as root:
        root.run("dpkg", "--install", root.given(package), user="root")
        said = travel(place := Place(root.command("klines")), release.VERSION)
        configuration = root.path / "etc/klines"
        assert oct((configuration / "klines.env").stat().st_mode)[-3:] == "640"
        (stored := root.path / "var/lib/klines").mkdir(exist_ok=True)
        root.run("dpkg", "--remove", "klines", user="root")
        assert (configuration / "klines.toml").exists() and stored.exists()
        root.run("dpkg", "--purge", "klines", user="root")
        search = "find / -xdev ( -path /home -o -path /given ) -prune -o -name *klines* -print"
        assert not (left := root.run(*search.split(), user="root")), left
        return package, said, place.figures


class System:
    """A booted Debian in a container."""

    def __init__(self, leader):
        self.leader = leader

    def line(self, *words):
        """Returns the command line that runs a command there."""
        return ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd", "env", "-i", f"PATH={SEARCH}", *words]

    def run(self, *words, check=True):
        """Runs a command to its end. Returns its output."""
        done = subprocess.run(self.line(*words), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}{self.journal()}"
        return done.stdout

    def journal(self):
        """Returns what the service has printed, and what systemd has said of it."""
        line = self.line("journalctl", "--unit=klines", "--output=cat", "--no-pager")
        return subprocess.run(line, capture_output=True, text=True, check=False).stdout

    def property(self, name):
        """Returns a property of the service."""
        return self.run("systemctl", "show", "klines", "--value", "--property", name).strip()

    def wait(self, what, true):
        """Waits until it is true."""
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, f"{what} is not so\n{self.journal()}"
            time.sleep(0.1)


@contextlib.contextmanager
def booted(root):
    """Boots the Debian in this folder, on this machine's network."""
    # It mounts its own /proc.
    root.unmount()
    line = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", f"--directory={root.path.absolute()}"]
    container = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    try:
        end = time.monotonic() + PATIENCE
        while not (leader := children.read_text().split()):
            assert time.monotonic() < end and container.poll() is None, "systemd-nspawn has ended"
            time.sleep(0.1)
        system = System(leader[0])
        up = ("running", "degraded")
        system.wait("systemd runs", lambda: system.run("systemctl", "is-system-running", check=False).strip() in up)
        yield system
    finally:
        # Shuts the system down.
        container.terminate()
        container.wait(PATIENCE)


def restricted(system):
    """Asserts that the process of the service has the restrictions of the unit."""
    process = f"/proc/{system.property('MainPID')}"
    mounted = [line.split()[4:6] for line in system.run("cat", f"{process}/mountinfo").splitlines()]
    writable = [place for place, options in mounted if options.startswith("rw") and place.startswith(("/etc", "/usr", "/home", "/var/lib"))]
    assert writable == ["/var/lib/klines"] and ["/", "ro"] in [[place, options[:2]] for place, options in mounted], mounted
    status = system.run("cat", f"{process}/status")
    status = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert status["Uid"].split()[0] != "0", status["Uid"]
    assert (status["NoNewPrivs"], status["Seccomp"], int(status["CapBnd"], 16)) == ("1", "2", 0), status


def serve(system, port, figures):
    """Starts the service, reads klines as a client, changes its symbols, and stops it."""
    begin = time.monotonic()
    # Returns when the service has said that it is ready.
    system.run("systemctl", "start", "klines")
    figures["version"] = time.monotonic() - begin
    system.wait("a kline is in the journal", lambda: "✓" in system.journal())
    figures["kline"] = time.monotonic() - begin
    restricted(system)
    enough, seen = threading.Event(), []
    client = threading.Thread(target=listen, args=(port, enough, seen), daemon=True)
    client.start()
    assert enough.wait(PATIENCE), system.journal()
    system.run("systemctl", "reload", "klines")
    assert "console" in system.run("klines", "consumer", "list", "--data-dir", "/var/lib/klines"), "root may ask"
    begin = time.monotonic()
    system.run("systemctl", "stop", "klines")
    figures["stop"] = time.monotonic() - begin
    client.join(PATIENCE)
    assert seen == list(range(seen[0], seen[0] + len(seen))), f"a hole: {seen}"
    assert (system.property("Result"), system.property("ExecMainStatus")) == ("success", "0"), system.journal()
    journal = system.journal()
    for consumer in ("console", "websocket"):
        summary = [line for line in journal.splitlines() if line.startswith(f"{consumer}: ")]
        assert summary and " lost (" not in summary[0], journal


def service():
    """The service under systemd, with the simulated exchange in place of Bybit."""
    figures = {}
    with debian() as root:
        root.run("dpkg", "--install", root.given(release.package(f"klines_*_{release.DEBIAN_MACHINE}.deb")), user="root")
        exchange, port = free_port(), free_port()
        (root.path / "etc/klines/klines.toml").write_text(TOML.format(exchange=exchange, port=port))
        with (root.path / "etc/klines/klines.env").open("a") as secrets:
            secrets.write(f"WSS_AUTH_USER={USER}\nWSS_AUTH_KEY={KEY}\n")
        exchange_unit = f"[Service]\nExecStart=/usr/bin/klines simulate --listen 127.0.0.1:{exchange}\n"
        (root.path / "etc/systemd/system/exchange.service").write_text(exchange_unit)
        with booted(root) as system:
            enabled = system.run("systemctl", "is-enabled", "klines", check=False).strip()
            assert enabled == "disabled", f"nobody has asked for the service, but it is {enabled}"
            system.run("systemctl", "start", "exchange")
            serve(system, port, figures)
            system.run("dpkg", "--purge", "klines")
            assert not (root.path / "var/lib/klines").exists()
    return None, "under systemd", figures
