"""A client written only from the description of Bybit Klines Streamer's protocol."""

import json
import time

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from service import KEY, PATIENCE, USER, Klines

NUMBERS = ("interval", "timestamp", "open", "high", "low", "close", "volume", "trade_count")


def dial(klines):
    return connect(f"ws://127.0.0.1:{klines.port}/", proxy=None, open_timeout=PATIENCE)


def answer(client):
    return json.loads(client.recv(timeout=PATIENCE))


def batch(client):
    """Reads and checks the next batch of closed klines."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        heard = answer(client)
        if isinstance(heard, list):
            assert heard, "an empty batch"
            for kline in heard:
                assert isinstance(kline["symbol"], str), kline
                assert all(type(kline[name]) in (int, float) for name in NUMBERS), kline
                assert kline["timestamp"] % kline["interval"] == 0 and kline["high"] >= kline["low"] > 0, kline
            return heard
    raise AssertionError(f"no batch in {PATIENCE} s")


def conversation():
    """a client of the Streamer's protocol logs in, receives batches, pings and gets the shutdown message"""
    klines = Klines("streamer", level="trace")
    with dial(klines) as client:
        client.send(json.dumps({"user": USER, "key": KEY}))
        assert answer(client) == {"status": "authenticated"}
        for _ in range(2):
            heard = batch(client)
        print(f"  {len(heard)} klines in a batch, the first {heard[0]}")
        client.send('{"type":"ping"}')
        while (heard := answer(client)) != {"type": "pong"}:
            assert isinstance(heard, list), heard
        klines.stop()
        while (heard := answer(client)) != {"type": "server_shutdown"}:
            assert isinstance(heard, list), heard
        try:
            client.recv(timeout=PATIENCE)
            raise AssertionError("something came after server_shutdown")
        except ConnectionClosed as closed:
            assert closed.rcvd.code == 3000, closed
            print(f"  server_shutdown, then {closed.rcvd}")


def refusals():
    """a client of the Streamer's protocol is refused with the Streamer's messages"""
    with Klines("streamer-refusals", level="trace") as klines:
        for said, expected, code in [
            ("hello", "Invalid auth format", 3501),
            (json.dumps({"user": USER}), "Invalid auth format", 3501),
            (json.dumps({"user": USER, "key": KEY[:-1]}), "Authentication failed", 3501),
            (json.dumps({"user": "other", "key": KEY}), "Authentication failed", 3501),
            (None, "Authentication timeout", 3500),
        ]:
            with dial(klines) as client:
                if said is not None:
                    client.send(said)
                assert answer(client) == {"error": expected}
                try:
                    raise AssertionError(f"said after that: {client.recv(timeout=PATIENCE)}")
                except ConnectionClosed as closed:
                    assert closed.rcvd.code == code, closed
            print(f"  {expected}, {code}")


TESTS = [conversation, refusals]
