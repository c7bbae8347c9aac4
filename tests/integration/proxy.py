"""A TCP proxy that can be cut, slowed and mended: `from proxy import Proxy`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards connections from a port of its own to another one of 127.0.0.1, in threads."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.1)
        self.port: int = self._listener.getsockname()[1]
        self._cut = False
        self.delay = 0.0
        """Seconds that every piece of bytes (64 KB at most) waits, in each direction."""
        self._ended = threading.Event()
        self._sides: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    @property
    def cut(self) -> bool:
        """Nothing gets through from the moment on that this is set: connections end, new ones too."""
        return self._cut

    @cut.setter
    def cut(self, value: bool) -> None:
        self._cut = value
        if value:
            self._hang_up(self._sides)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._threads[0].join()
        self.cut = True
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                near.close()
                continue
            for side in (near, far):
                side.settimeout(None)
                self._sides.append(side)
            for one, other in ((near, far), (far, near)):
                thread = threading.Thread(target=self._forward, args=(one, other))
                self._threads.append(thread)
                thread.start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):  # the other side is gone: so is this one
            while not self._cut and (piece := one.recv(1 << 16)):
                if self.delay:
                    time.sleep(self.delay)
                other.sendall(piece)
        self._hang_up((one, other))
        for side in (one, other):
            side.close()

    @staticmethod
    def _hang_up(sides: Iterable[socket.socket]) -> None:
        for side in sides:
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)  # who waits for bytes, or to send some, wakes up
