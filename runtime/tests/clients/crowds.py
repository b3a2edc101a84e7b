"""Many clients at once: wrong keys, more connections than allowed, and a server without descriptors."""

import time

from service import KEY, USER, Klines, eventually
from wire import BEARER, Wire, connect, read_head, request, status


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def guessing():
    """a thousand wrong keys are refused, and the right one is accepted from another address"""
    with Klines("guessing") as klines:
        before = klines.memory()
        for number in range(1_000):
            wire = Wire(klines.port, headers=bearer(f"wrong-{number}"))
            assert wire.status in (401, 429), wire.head
            wire.close()
        assert Wire(klines.port).status in (401, 429), "the address of the wrong keys is refused with any key"
        wire = Wire(klines.port, "/", {})
        wire.say({"user": USER, "key": KEY})
        assert wire.end() == (['{"error":"Authentication failed"}'], 3501), "in every form"
        wire = Wire(klines.port, source="127.0.0.2")
        assert wire.status == 101, wire.head
        wire.say({"op": "ping"})
        assert wire.hear()["op"] == "pong"
        checked = klines.said("log-in with wrong credentials")
        grown = klines.memory() - before
        print(f"  {checked} of 1,000 were checked; memory grew by {grown} KiB")
        assert 5 <= checked < 50 and grown < 16 * 1024


def flood():
    """connections over the total limit and the limit per address are refused, and are accepted again later"""
    with Klines("flood", "connections = 60\nconnections_per_address = 40") as klines:
        first = [Wire(klines.port) for _ in range(140)]
        admitted = sum(wire.status == 101 for wire in first)
        second = [Wire(klines.port, source="127.0.0.2") for _ in range(100)]
        others = sum(wire.status == 101 for wire in second)
        answers = {wire.status for wire in first + second}
        print(f"  {admitted} from one address, {others} from another, answers {sorted(answers)}")
        assert (admitted, others) == (40, 20) and answers <= {101, 503, 0}, answers
        for wire in first:
            wire.close()
        eventually("room", lambda: Wire(klines.port).status == 101)
        for wire in second:
            wire.close()


def descriptors():
    """a server without free descriptors neither uses all CPU time nor ends"""
    with Klines("descriptors", descriptors=64) as klines:
        follower = Wire(klines.port)
        follower.say({"op": "subscribe", "topics": ["kline.1s.BTCUSDT"]})
        follower.hear(lambda message: message.get("type") == "kline")
        crowd = [connect(klines.port) for _ in range(200)]
        for stream in crowd:
            stream.sendall(request(klines.port, headers=BEARER))
        eventually("the shortage", lambda: klines.said("cannot accept connections"))
        spent, since = klines.processor_time(), time.monotonic()
        for _ in range(3):
            follower.hear(lambda message: message.get("type") == "kline" and message["data"]["confirm"])
        share = (klines.processor_time() - spent) / (time.monotonic() - since)
        said = klines.said("cannot accept connections")
        print(f"  klines go on to the connected client; {share:.0%} of a processor; the shortage is logged {said} times")
        assert share < 0.7 and said < 20
        for stream in crowd:
            stream.close()
        eventually("room", lambda: Wire(klines.port).status == 101)


def late_answers():
    """a refused connection gets the reason"""
    with Klines("turned-away", "connections = 1") as klines:
        kept = Wire(klines.port)
        assert kept.status == 101
        with connect(klines.port) as stream:
            stream.sendall(request(klines.port, headers=BEARER))
            head, _ = read_head(stream)
        print(f"  {head.splitlines()[0]}")
        assert status(head) == 503


TESTS = [guessing, flood, descriptors, late_answers]
