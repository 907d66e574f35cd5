"""A network between a client and a server on loopback that forgets, cuts and comes back, as load balancers do."""

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from valetkey_devstack.free_ports import free_port

_CHUNK = 65536
_STEP = 0.05


class Network:
    """Hands on bytes to `target`, HOST:PORT, connection by connection, until told otherwise.

    `forget_after`: a connection that was silent for so many seconds is forgotten; what is sent later vanishes, and
    neither side is told. `mute`: nothing is handed on any more. `refuses_late`: connections are ended once they are
    open. `attempts` counts the connections that were opened.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self.forget_after = float("inf")
        self.mute = False
        self.refuses_late = False
        self.attempts = 0
        self._open: set[socket.socket] = set()
        self._forgotten: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        # Not one of those that the system gives to outgoing connections: it is left between `down` and `up`.
        self._port = free_port()
        self.up()

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._lock:
            return len(self._open)

    def up(self) -> None:
        """Listens, on the same port each time."""
        listener = socket.create_server(("127.0.0.1", self._port))
        self._listener = listener
        self._start(self._accept, listener)

    def down(self) -> None:
        """Refuses connections and cuts those there are, as a host does whose server has ended."""
        listener, self._listener = self._listener, None
        if listener:
            # What waits in accept() keeps the port; closing alone does not wake it.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Ends the connections there are; new ones come about."""
        with self._lock:
            sockets = list(self._open)
        for connection in sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Has what is sent over the connections there are vanish from now on; new ones come about."""
        with self._lock:
            self._forgotten |= self._open

    def close(self) -> None:
        """Ends everything."""
        self.down()
        for thread in self._threads:
            thread.join()

    def _start(self, run: Callable[[socket.socket], None], connection: socket.socket) -> None:
        thread = threading.Thread(target=run, args=(connection,))
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.attempts += 1
                if self.refuses_late:
                    connection.close()
                    continue
                with self._lock:
                    self._open.add(connection)
                self._start(self._relay, connection)

    def _relay(self, near: socket.socket) -> None:
        try:
            self._hand_on(near)
        finally:
            with self._lock:
                self._open.discard(near)
                self._forgotten.discard(near)

    def _hand_on(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self._target) as far:
            last, forgotten = time.monotonic(), False
            while True:
                ready, _, _ = select.select([near, far], [], [], _STEP)
                silent = time.monotonic() - last
                forgotten = forgotten or self.mute or near in self._forgotten or silent > self.forget_after
                for source in ready:
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    if not forgotten:
                        (far if source is near else near).sendall(data)
                        last = time.monotonic()


@contextmanager
def network_before(target: str) -> Iterator[Network]:
    """Runs a network until the block ends."""
    network = Network(target)
    try:
        yield network
    finally:
        network.close()
