"""A TCP relay on loopback that can lose connections, refuse new ones, hold everything back, and change where it leads."""

import socket
import threading
import time


class Relay:
    def __init__(self, target):
        self.target = target
        self.is_refusing = False
        self._flows = threading.Event()
        self._flows.set()
        self._pairs = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self._listener.accept()
            try:
                if self.is_refusing:
                    raise ConnectionRefusedError
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            pair = (near, far)
            self._pairs.append(pair)
            for source, sink in (pair, pair[::-1]):
                threading.Thread(target=self._pass, args=(source, sink, pair), daemon=True).start()

    def _pass(self, source, sink, pair):
        try:
            while data := source.recv(65_536):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._close(pair)

    def _close(self, pair):
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        if pair in self._pairs:
            self._pairs.remove(pair)

    def cut(self, connections=None):
        """Closes open connections, the oldest first: all of them, or this number."""
        for pair in list(self._pairs)[:connections]:
            self._close(pair)

    def hold(self, seconds):
        """Holds everything back for a time."""
        self._flows.clear()
        time.sleep(seconds)
        self._flows.set()
