"""A WebSocket implemented by hand: a socket, a handshake and frames as in RFC 6455, so that each part can be invalid."""

import base64
import json
import os
import socket
import struct

from service import KEY, PATIENCE

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
BEARER = {"Authorization": f"Bearer {KEY}"}


def connect(port, source=None):
    """Opens a connection, from another loopback address if one is given."""
    address = (source, 0) if source else None
    return socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=address)


def request(port, path="/v1/stream", headers=(), method="GET"):
    """Returns the bytes of a handshake; headers with the value None are left out."""
    fields = {
        "Host": f"127.0.0.1:{port}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        **dict(headers),
    }
    lines = [f"{method} {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_head(stream):
    """Reads the head of an HTTP answer. Returns it and the bytes after it; no head if the connection ended first."""
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            more = stream.recv(4_096)
        except ConnectionResetError:
            more = b""
        if not more:
            return "", data
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def status(head):
    """Returns the status code of an answer, 0 if there is none."""
    return int(head.split(" ", 2)[1]) if head else 0


def frame(opcode, payload=b"", fin=True, masked=True, reserved=0, length=None):
    """Returns the bytes of a frame. `length` replaces the true length of the payload."""
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    size = len(payload) if length is None else length
    mask_bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first, mask_bit | size)
    elif size < 65_536:
        head = struct.pack("!BBH", first, mask_bit | 126, size)
    else:
        head = struct.pack("!BBQ", first, mask_bit | 127, size)
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def is_status(message):
    """Returns whether a message of `/v1/stream` is a status of the feeds, which comes without a request."""
    return isinstance(message, dict) and message.get("type") == "status"


class Wire:
    """A client after its handshake."""

    def __init__(self, port, path="/v1/stream", headers=None, source=None):
        self.stream = connect(port, source)
        self.send(request(port, path, BEARER if headers is None else headers))
        self.head, self._rest = read_head(self.stream)
        self.status = status(self.head)

    def send(self, *frames):
        """Sends frames; errors after the server has closed the connection are ignored."""
        try:
            self.stream.sendall(b"".join(frames))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def say(self, message):
        """Sends a JSON text."""
        self.send(frame(TEXT, json.dumps(message).encode()))

    def _take(self, size):
        while len(self._rest) < size:
            more = self.stream.recv(65_536)
            if not more:
                raise EOFError
            self._rest += more
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def read(self):
        """Reads the next frame: opcode and payload. Raises EOFError or ConnectionResetError at the end."""
        first, second = self._take(2)
        assert not second & 0x80, "a server must not mask"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first & 0x0F, self._take(size)

    def hear(self, wanted=lambda message: not is_status(message)):
        """Reads the next JSON text that is wanted; by default every text except a status of the feeds."""
        while True:
            opcode, payload = self.read()
            assert opcode != CLOSE, f"closed with {code_of(payload)}"
            if opcode == TEXT and wanted(message := json.loads(payload)):
                return message

    def end(self):
        """Reads to the end. Returns the texts, except the status of the feeds, and the code of the close frame or None."""
        texts = []
        while True:
            try:
                opcode, payload = self.read()
            except (EOFError, ConnectionResetError):
                return texts, None
            if opcode == CLOSE:
                self.send(frame(CLOSE, payload[:2]))
                return texts, code_of(payload)
            if opcode == TEXT and not is_status(json.loads(payload)):
                texts.append(payload.decode())

    def close(self):
        """Closes the socket."""
        self.stream.close()


def code_of(payload):
    """Returns the code in a close frame."""
    return struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
