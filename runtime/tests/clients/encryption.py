"""TLS as a scanner sees it, and certificates that change while the server runs."""

import hashlib
import json
import socket
import ssl
import subprocess
from pathlib import Path

import service
from service import Klines, eventually
from wire import BEARER, connect, read_head, request, status


def make(folder):
    """Creates a certificate. Returns the lines of the configuration."""
    made = subprocess.run([service.program, "tls", "self-signed", "--force", "--output", folder],
                          check=True, capture_output=True, text=True)
    return "\n".join(line for line in made.stdout.splitlines() if line.startswith("certificate"))


def shown(port, certificate):
    """Returns the fingerprint of the server's certificate, or None if a client that trusts `certificate` does not trust it."""
    context = ssl.create_default_context(cafile=certificate)
    try:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as encrypted:
                return hashlib.sha256(encrypted.getpeercert(True)).hexdigest()
    except ssl.SSLCertVerificationError:
        return None


def scanned():
    """a scanner finds TLS 1.2 and 1.3 and nothing older"""
    folder = service.ROOT / "target/clients/certificates"
    with Klines("scanned", make(folder)) as klines:
        scanner = service.ROOT / "target/clients/sslyze/bin/sslyze"
        report = folder / "sslyze.json"
        versions = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2", "tls_1_3"]
        flags = ["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"]
        subprocess.run([scanner, *flags, "--json_out", report, f"127.0.0.1:{klines.port}"],
                       check=True, capture_output=True, timeout=240)
        (result,) = json.loads(report.read_text())["server_scan_results"]
        found = {}
        for version in versions:
            scan = result["scan_result"][f"{version}_cipher_suites"]
            assert scan["status"] == "COMPLETED", scan
            found[version] = [suite["cipher_suite"]["name"] for suite in scan["result"]["accepted_cipher_suites"]]
            print(f"  {version}: {', '.join(found[version]) or 'refused'}")
        assert [version for version in versions if found[version]] == ["tls_1_2", "tls_1_3"], found


def renewed():
    """a new certificate is used without a restart, and an incomplete one is not"""
    folder = service.ROOT / "target/clients/renewed"
    certificate, key = folder / "cert.pem", folder / "key.pem"
    with Klines("renewed", make(folder)) as klines:
        old = shown(klines.port, certificate)
        assert old, "the first certificate"
        kept = certificate.read_bytes()
        key.write_text(Path(key).read_text()[:100])
        eventually("the warning", lambda: klines.said("cannot use the new certificate"))
        assert shown(klines.port, certificate) == old
        make(folder)
        assert certificate.read_bytes() != kept
        new = eventually("the new certificate", lambda: shown(klines.port, certificate), pause=0.5)
        print(f"  {old[:16]}… became {new[:16]}…")
        assert new != old


def stalled():
    """a client that does not finish the TLS handshake, or sends plain HTTP, is cut"""
    folder = service.ROOT / "target/clients/certificates"
    with Klines("stalled", make(folder)) as klines:
        silent, halfway, outspoken = (connect(klines.port) for _ in range(3))
        halfway.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        outspoken.sendall(request(klines.port, headers=BEARER))
        for stream in (outspoken, halfway, silent):
            head, _ = read_head(stream)
            assert status(head) == 0, head
        print("  silence, half a handshake and plain HTTP: closed without an HTTP answer")
        assert shown(klines.port, folder / "cert.pem")


TESTS = [scanned, renewed, stalled]
