"""Clients that break the rules of HTTP and RFC 6455: each is answered as documented, and no other client is affected."""

import json
import struct
import time

from service import KEY, PATIENCE, USER, Klines, eventually
from wire import BEARER, BINARY, CLOSE, MORE, PING, PONG, TEXT, Wire, connect, frame, is_status, read_head, request, status

LIMIT = 64 * 1024
HALF = b"x" * (LIMIT // 2)
PING_TEXT = b'{"op":"ping","id":1}'

# The frames that are sent, and the codes of the close frame that may answer them.
BROKEN = [
    ("a frame without a mask", [frame(TEXT, PING_TEXT, masked=False)], {1002}),
    ("a reserved bit", [frame(TEXT, PING_TEXT, reserved=4)], {1002}),
    ("an unknown data frame", [frame(3, b"?")], {1002}),
    ("an unknown control frame", [frame(11, b"?")], {1002}),
    ("a ping in fragments", [frame(PING, b"?", fin=False)], {1002}),
    ("a ping of 126 bytes", [frame(PING, b"?" * 126)], {1002}),
    ("a continuation of nothing", [frame(MORE, PING_TEXT)], {1002}),
    ("a message inside another", [frame(TEXT, b"{", fin=False), frame(TEXT, b"}")], {1002}),
    ("text that is not UTF-8", [frame(TEXT, b"\xc3\x28")], {1007}),
    ("half a character at the end", [frame(TEXT, b"{", fin=False), frame(MORE, b"\xe2\x82")], {1007}),
    ("a frame over the limit", [frame(TEXT, b"", length=LIMIT + 1)], {1009}),
    ("a frame of 2^62 bytes", [frame(TEXT, b"", length=1 << 62)], {1009}),
    ("a message over the limit in fragments",
     [frame(TEXT, HALF, fin=False), frame(MORE, HALF, fin=False), frame(MORE, b"x")], {1009}),
    ("a binary message", [frame(BINARY, b"\0")], {3503}),
    ("a close frame with half a code", [frame(CLOSE, b"\x03")], {1002}),
    ("a close frame with a code that nobody may send", [frame(CLOSE, struct.pack("!H", 1006))], {1002}),
]

HEADERS = {f"X-Filler-{number}": "x" for number in range(300)}

# Path, method, changed headers of a valid handshake, and the allowed statuses; 0: closed without an answer.
HANDSHAKES = [
    ("no key at all", "/v1/stream", "GET", {"Sec-WebSocket-Key": None}, {400}),
    ("a key that is none", "/v1/stream", "GET", {"Sec-WebSocket-Key": "short"}, {400}),
    ("an old version", "/v1/stream", "GET", {"Sec-WebSocket-Version": "8"}, {426}),
    ("no upgrade", "/v1/stream", "GET", {"Upgrade": None, "Connection": None}, {426}),
    ("another method", "/v1/stream", "POST", {}, {405}),
    ("a path that is not there", "/v9", "GET", {}, {404}),
    ("a category that is not there", "/v5/public/option", "GET", {}, {404}),
    ("a foreign origin", "/v1/stream", "GET", {"Origin": "https://evil.example"}, {403}),
    ("an origin that is none", "/v1/stream", "GET", {"Origin": "null"}, {403}),
    ("a foreign origin on the Streamer's path", "/", "GET", {"Origin": "https://evil.example"}, {403}),
    ("a header of 256 KiB", "/v1/stream", "GET", {"X-Filler": "x" * 262_144}, {0, 400, 431}),
    ("300 headers", "/v1/stream", "GET", HEADERS, {0, 400, 431}),
    ("an address of 100 KiB", "/v1/stream?" + "x" * 100_000, "GET", {}, {0, 400, 414, 431}),
    ("a key in the address, where none may be", f"/v1/stream?token={KEY}", "GET", {"Authorization": None}, {401}),
]


def answered(klines, path, method, headers):
    """Returns the status of the answer to a handshake."""
    with connect(klines.port) as stream:
        try:
            stream.sendall(request(klines.port, path, {**BEARER, **headers}, method))
        except (BrokenPipeError, ConnectionResetError):
            pass
        return status(read_head(stream)[0])


def assert_serves(klines):
    """Asserts that a client that follows the rules is served."""
    wire = Wire(klines.port)
    wire.say({"op": "subscribe", "id": 1, "topics": ["kline.1s.BTCUSDT"]})
    assert wire.hear(lambda message: message.get("op") == "subscribe")["ok"] is True
    wire.hear(lambda message: message.get("type") == "kline")
    wire.close()


def framing():
    """broken frames are answered with the right close code"""
    with Klines("framing") as klines:
        for what, frames, codes in BROKEN:
            wire = Wire(klines.port)
            assert wire.status == 101, wire.head
            wire.send(*frames)
            _, code = wire.end()
            print(f"  {what}: {code}")
            assert code in codes, f"{what}: {code}, not {codes}"
            wire.close()
        assert_serves(klines)


def fragments():
    """everything that RFC 6455 allows is accepted: fragments, pings between them, tiny ones"""
    with Klines("fragments") as klines:
        wire = Wire(klines.port)
        wire.hear(is_status)
        wire.send(frame(TEXT, PING_TEXT[:5], fin=False), frame(PING, b"are you there"), frame(MORE, b"", fin=False))
        wire.send(frame(MORE, PING_TEXT[5:]))
        opcode, payload = wire.read()
        assert (opcode, payload) == (PONG, b"are you there"), (opcode, payload)
        pong = wire.hear(lambda message: message.get("op") == "pong")
        assert pong["id"] == 1 and pong["ok"] is True, pong
        before = klines.memory()
        for _ in range(20):
            wire.send(frame(TEXT, b"", fin=False), *[frame(MORE, b"", fin=False) for _ in range(5_000)])
            wire.send(frame(MORE, PING_TEXT))
            assert wire.hear(lambda message: message.get("op") == "pong")["id"] == 1
        grown = klines.memory() - before
        print(f"  100,000 empty fragments: memory grew by {grown} KiB")
        assert grown < 8 * 1024, f"{grown} KiB"
        wire.send(frame(CLOSE, struct.pack("!H", 1000) + b"bye"))
        assert wire.end()[1] == 1000
        for text in (b"[" * 30_000, b'{"op":' * 5_000, b'{"op":"subscribe","topics":[' + b'"x",' * 10_000 + b'"x"]}'):
            other = Wire(klines.port)
            other.send(frame(TEXT, text), frame(TEXT, PING_TEXT))
            assert other.hear(lambda message: message.get("op") == "pong")["ok"] is True
            other.close()
        print("  deep and long JSON: refused, and the connection stays open")


def handshakes():
    """bad handshakes are refused, and a good one passes"""
    with Klines("handshakes") as klines:
        for what, path, method, headers, codes in HANDSHAKES:
            code = answered(klines, path, method, headers)
            print(f"  {what}: {code}")
            assert code in codes, f"{what}: {code}, not {codes}"
        own = {"Origin": f"http://127.0.0.1:{klines.port}"}
        assert answered(klines, "/v1/stream", "GET", own) == 101, "the server's own origin"
        wire = Wire(klines.port, headers={**BEARER, "Sec-WebSocket-Extensions": "permessage-deflate"})
        assert wire.status == 101 and "permessage-deflate" not in wire.head, wire.head
        assert_serves(klines)
    with Klines("origins", 'origins = ["https://friend.example"]') as klines:
        assert answered(klines, "/v1/stream", "GET", {"Origin": "https://friend.example"}) == 101
        assert answered(klines, "/v1/stream", "GET", {"Origin": "https://friend.example.evil.example"}) == 403
        print("  an origin that is allowed: 101")


def dawdling():
    """a client that takes too long is cut, and gets no message before that"""
    with Klines("dawdling") as klines:
        silent, trickling = connect(klines.port), connect(klines.port)
        unadmitted = Wire(klines.port, headers={})
        bybit = Wire(klines.port, "/v5/public/linear", {})
        assert unadmitted.status == bybit.status == 101
        trickling.settimeout(0.2)
        deadline, bytes_sent = time.monotonic() + PATIENCE, 0
        data = request(klines.port)
        while True:
            assert time.monotonic() < deadline, "the slow handshake is never cut"
            try:
                trickling.sendall(data[bytes_sent % 100:][:1])
                bytes_sent += 1
                if not trickling.recv(4_096):
                    break
            except TimeoutError:
                pass
            except OSError:
                break
        print(f"  a handshake byte by byte: cut after {bytes_sent} bytes")
        eventually("the silent one is cut", lambda: not read_head(silent)[0])
        for wire in (unadmitted, bybit):
            texts, code = wire.end()
            assert (texts, code) == ([], 3500), (texts, code)
        print("  no credentials: 3500, and no message before")
        assert_serves(klines)


def intruders():
    """clients that have not logged in get no data"""
    with Klines("intruders") as klines:
        subscribe = {"op": "subscribe", "topics": ["kline.1s.BTCUSDT"], "args": ["kline.1s.BTCUSDT"]}
        for path in ("/v1/stream", "/v5/public/linear"):
            wire = Wire(klines.port, path, {})
            wire.say(subscribe)
            texts, code = wire.end()
            assert code == 3501 and not any("open" in text for text in texts), (texts, code)
        wire = Wire(klines.port, headers={})
        wire.say({"op": "auth", "user": USER, "key": KEY})
        assert wire.hear()["ok"] is True
        wire = Wire(klines.port, headers={})
        for _ in range(10):
            wire.say({"op": "auth", "user": USER, "key": "wrong"})
        texts, code = wire.end()
        assert code == 3501 and not any('"ok":true' in text for text in texts), (texts, code)
        plain = {"Authorization": None, "Upgrade": None, "Connection": None}
        for call in ("instruments-info?category=linear", "kline?category=linear&symbol=BTCUSDT&interval=1"):
            assert answered(klines, f"/v5/market/{call}", "GET", plain) == 401, call
        print("  3501 and 401")


def haste():
    """a client that sends commands too fast is cut"""
    with Klines("haste") as klines:
        wire = Wire(klines.port)
        wire.send(*[frame(TEXT, PING_TEXT) for _ in range(5_000)])
        texts, code = wire.end()
        print(f"  {len(texts)} of 5,000 answered, then {code}")
        assert code == 3502 and 0 < len(texts) < 1_000
        assert json.loads(texts[0])["op"] == "pong"
        assert_serves(klines)


TESTS = [framing, fragments, handshakes, dawdling, intruders, haste]
