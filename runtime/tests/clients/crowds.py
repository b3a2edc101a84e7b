"""Many at once: guessers of keys, more connections than allowed, and a server without descriptors."""

import time

from service import KEY, USER, Klines, eventually
from wire import BEARER, Wire, connect, read_head, request, status


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def guessing():
    """a thousand wrong keys are refused, and the right one enters from elsewhere"""
    with Klines("guessing") as klines:
        before = klines.memory()
        for number in range(1_000):
            wire = Wire(klines.port, headers=bearer(f"wrong-{number}"))
            assert wire.status in (401, 429), wire.head
            wire.close()
        assert Wire(klines.port).status in (401, 429), "the guesser's own address is refused, whatever it shows"
        wire = Wire(klines.port, "/", {})
        wire.say({"user": USER, "key": KEY})
        assert wire.end() == (['{"error":"Authentication failed"}'], 3501), "in every form"
        wire = Wire(klines.port, source="127.0.0.2")
        assert wire.status == 101, wire.head
        wire.say({"op": "ping"})
        assert wire.hear()["op"] == "pong"
        looked_at = klines.said("log-in with wrong credentials")
        grown = klines.memory() - before
        print(f"  {looked_at} of 1,000 were looked at; memory grew by {grown} KiB")
        assert 5 <= looked_at < 50 and grown < 16 * 1024


def flood():
    """connections over the limits are turned away, in all and by address, and room comes back"""
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
    """a server out of descriptors neither spins nor dies"""
    with Klines("descriptors", descriptors=64) as klines:
        follower = Wire(klines.port)
        follower.say({"op": "subscribe", "topics": ["kline.1s.BTCUSDT"]})
        follower.hear(lambda message: message.get("type") == "kline")
        crowd = [connect(klines.port) for _ in range(200)]
        for stream in crowd:
            stream.sendall(request(klines.port, headers=BEARER))
        eventually("the shortage", lambda: klines.said("cannot be accepted"))
        spent, since = klines.processor_time(), time.monotonic()
        for _ in range(3):
            follower.hear(lambda message: message.get("type") == "kline" and message["data"]["confirm"])
        share = (klines.processor_time() - spent) / (time.monotonic() - since)
        said = klines.said("cannot be accepted")
        print(f"  klines go on to who was there; {share:.0%} of a processor; the shortage is logged {said} times")
        assert share < 0.7 and said < 20
        for stream in crowd:
            stream.close()
        eventually("room", lambda: Wire(klines.port).status == 101)


def late_answers():
    """a connection that is turned away hears why"""
    with Klines("turned-away", "connections = 1") as klines:
        kept = Wire(klines.port)
        assert kept.status == 101
        with connect(klines.port) as stream:
            stream.sendall(request(klines.port, headers=BEARER))
            head, _ = read_head(stream)
        print(f"  {head.splitlines()[0]}")
        assert status(head) == 503


TESTS = [guessing, flood, descriptors, late_answers]
