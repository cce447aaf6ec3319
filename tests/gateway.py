"""A database behind a TCP port, from which it disappears when a test says so."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from partnercenter_demo.postgres import DATABASE, PORT, SUPERUSER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from partnercenter_demo.postgres import Server


class Gateway(socketserver.ThreadingTCPServer):
    """Passes connections on to the database while it is up; otherwise cuts them."""

    daemon_threads = True

    def __init__(self, server: Server) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Connection)
        self.socket_path = str(server.sockets / f".s.PGSQL.{PORT}")
        self.is_up: Callable[[], bool] = lambda: True
        #: The text of a statement that, once, does not get through: the connection is cut.
        self.cut_at: bytes | None = None

    @property
    def url(self) -> str:
        """The address of the database."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.server_address[1]}/{DATABASE}"


class _Connection(socketserver.BaseRequestHandler):
    server: Gateway

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as database:
            database.connect(self.server.socket_path)
            others = {self.request: database, database: self.request}
            while True:
                for end in select.select(others, [], [])[0]:
                    data = end.recv(65_536)
                    if not (data and self.server.is_up()):
                        return
                    if self.server.cut_at is not None and self.server.cut_at in data:
                        self.server.cut_at = None
                        return
                    others[end].sendall(data)


@contextmanager
def gateway(server: Server) -> Iterator[Gateway]:
    """Serve until the block ends."""
    with Gateway(server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.shutdown()
