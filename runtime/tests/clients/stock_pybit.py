"""The unmodified pybit: over TLS by its constructor alone, and unencrypted by its address constant."""

import logging
import os
import queue
import subprocess
import time
from pathlib import Path

import pybit.unified_trading
from pybit.unified_trading import WebSocket

import service
from cutter import Cutter
from service import KEY, PATIENCE, Klines, eventually

# It logs the address that it connects to, including the key.
logging.getLogger("pybit").setLevel(logging.CRITICAL)

FIELDS = {"start": int, "end": int, "interval": str, "open": str, "close": str, "high": str, "low": str,
          "volume": str, "turnover": str, "confirm": bool, "timestamp": int}


class Follower:
    """Two subscriptions of one pybit connection."""

    def __init__(self, client):
        self.client = client
        self.heard = queue.Queue()
        self.counts = {}

    def subscribe(self):
        for interval in (1, "1s"):
            self.client.kline_stream(interval=interval, symbol="BTCUSDT", callback=self._take)

    def _take(self, message):
        topic = message["topic"]
        self.counts[topic] = self.counts.get(topic, 0) + 1
        self.heard.put(message)

    def next(self, topic, wanted=lambda row: True):
        """Waits for the next row of a topic and checks it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                message = self.heard.get(timeout=1)
            except queue.Empty:
                assert self.client.is_connected(), f"pybit is not connected while waiting for {topic}"
                continue
            assert message["type"] == "snapshot", message
            for row in message["data"]:
                assert {name: type(value) for name, value in row.items()} == FIELDS, row
                if message["topic"] == topic and wanted(row):
                    return row
        raise AssertionError(f"no row of {topic} in {PATIENCE} s")

    def forget(self):
        while not self.heard.empty():
            self.heard.get()


def follow(follower, cutter):
    follower.subscribe()
    minute = follower.next("kline.1.BTCUSDT")
    second = follower.next("kline.1s.BTCUSDT", lambda row: row["confirm"])
    print(f"  kline.1.BTCUSDT   {minute}\n  kline.1s.BTCUSDT  {second}")

    assert cutter.cut() == 1
    eventually("a second connection", lambda: cutter.accepted == 2)
    eventually("pybit is connected again", follower.client.is_connected)
    follower.forget()
    follower.next("kline.1.BTCUSDT")
    follower.next("kline.1s.BTCUSDT", lambda row: row["confirm"])
    print("  reset: connected and subscribed again by itself")

    follower.client.unsubscribe("kline.1s.BTCUSDT")
    eventually("the acknowledgement", lambda: "kline.1s.BTCUSDT" not in follower.client.callback_directory)
    ended = follower.counts["kline.1s.BTCUSDT"]
    follower.forget()
    # Three pushes of the other topic: pybit would fail at a frame of the topic that it has unsubscribed.
    for _ in range(3):
        follower.next("kline.1.BTCUSDT")
    assert follower.counts["kline.1s.BTCUSDT"] == ended
    print("  unsubscribed: not one more frame of it, and the other goes on")
    follower.client.exit()


def plain():
    """pybit, unencrypted, receives, resubscribes and unsubscribes"""
    with Klines("pybit-plain", "token_in_url = true") as klines:
        cutter = Cutter(klines.port)
        original = pybit.unified_trading.PUBLIC_WSS
        pybit.unified_trading.PUBLIC_WSS = f"ws://127.0.0.1:{cutter.port}/v5/public/{{CHANNEL_TYPE}}?token={KEY}"
        try:
            client = WebSocket(testnet=False, channel_type="linear")
        finally:
            pybit.unified_trading.PUBLIC_WSS = original
        follow(Follower(client), cutter)


def encrypted():
    """pybit over TLS by its constructor alone receives, resubscribes and unsubscribes"""
    folder = Path(service.ROOT, "target/clients/certificates")
    made = subprocess.run([service.program, "tls", "self-signed", "--force", "--output", folder],
                          check=True, capture_output=True, text=True)
    lines = [line for line in made.stdout.splitlines() if line.startswith("certificate")]
    os.environ["WEBSOCKET_CLIENT_CA_BUNDLE"] = str(folder / "cert.pem")
    with Klines("pybit-tls", "\n".join(["token_in_url = true", *lines])) as klines:
        cutter = Cutter(klines.port)
        domain = f"@127.0.0.1:{cutter.port}/v5/public/linear?token={KEY}&x="
        follow(Follower(WebSocket(testnet=False, domain=domain, channel_type="linear")), cutter)


TESTS = [plain, encrypted]
