"""A TCP proxy on loopback that can reset every connection that goes through it."""

import selectors
import socket
import struct
import threading


class Cutter:
    """Forwards bytes to a port and back until `cut` is called. One thread owns all sockets, so that a close takes effect."""

    def __init__(self, port):
        self._target = port
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.accepted = 0
        self._cut, self._done, self._were = threading.Event(), threading.Event(), 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        while True:
            for key, _ in self._selector.select(0.02):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj.fileno() >= 0:
                    self._pass(key.fileobj, key.data)
            if self._cut.is_set():
                ends = [key.fileobj for key in self._selector.get_map().values() if key.data]
                self._were = len(ends) // 2
                for end in ends:
                    # Closing with no time to linger sends a reset.
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self._drop(end)
                self._cut.clear()
                self._done.set()

    def _accept(self):
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            return near.close()
        self.accepted += 1
        self._selector.register(near, selectors.EVENT_READ, far)
        self._selector.register(far, selectors.EVENT_READ, near)

    def _pass(self, source, sink):
        try:
            data = source.recv(65_536)
            if data:
                return sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            self._drop(end)

    def _drop(self, end):
        self._selector.unregister(end)
        end.close()

    def cut(self):
        """Resets all open connections; new ones are accepted as before. Returns how many were reset."""
        self._done.clear()
        self._cut.set()
        assert self._done.wait(10), "the proxy hangs"
        return self._were
