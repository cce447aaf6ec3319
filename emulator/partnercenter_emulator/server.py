"""A uvicorn server in a thread of its own that starts and stops immediately."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

import uvicorn
from typing_extensions import override

from .connection import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .app import Application

T = TypeVar("T")

START_TIMEOUT = 10.0
SHUTDOWN_TIMEOUT = 5.0
KEEP_ALIVE = 75


def is_loopback(host: str) -> bool:
    """Return whether a listening address is only reachable from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """Uvicorn without waits: it stops on an event and drops connections instead of draining."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.ready.set()

    @override
    async def main_loop(self) -> None:
        while not self._stop.is_set():
            await self.on_tick(0)  # renews the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        # Stop accepting, but close later: if a server is closed while a connection is being
        # accepted, that one is lost and stays open (CPython issue 109564).
        with contextlib.suppress(NotImplementedError):
            for server in self.servers:
                for listening in server.sockets:
                    loop.remove_reader(listening.fileno())
        # A connection closes when the loop handles it, and only then do waiting requests notice
        # that their client has left. One that is being accepted is a task, not a connection yet.
        ends = loop.time() + SHUTDOWN_TIMEOUT
        this = asyncio.current_task()
        while self.server_state.connections or asyncio.all_tasks() - {this}:
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            if loop.time() > ends:
                break
            await asyncio.sleep(0.001)
        for server in self.servers:
            server.close()

    def stop(self) -> None:
        self._stop.set()


class ServerThread:
    """Serves an application from a daemon thread until stopped."""

    def __init__(self, app: Application, host: str, port: int) -> None:
        """Listen on `host` and `port` (0 for a free one) and serve; returns once it responds.

        Raises:
            OSError: The address cannot be bound.
            RuntimeError: The server did not start.
        """
        self._socket = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
        port = self._socket.getsockname()[1]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        config = uvicorn.Config(
            app,
            http=Protocol,
            # Not uvloop, although it is faster: its `close` has been seen to hang.
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # The app's own has the time of the emulator's clock.
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._run,
            name="partnercenter-emulator",
            daemon=True,
        )
        self._thread.start()
        if not self._server.ready.wait(START_TIMEOUT):
            msg = "the emulator's server did not start"
            raise RuntimeError(msg)

    def _run(self) -> None:
        # The kernel may deliver a signal to any thread, but Python handles it on the main one,
        # which would not wake up: `exec` waits there for its command.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._server.run([self._socket])

    @property
    def is_current(self) -> bool:
        """Whether the current thread is the server's."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` on the server's event loop and return its result.

        Call it from another thread, and not during or after a call of `stop` in a third one: a
        stopping loop may never run what it is given.
        """
        loop = self._server.loop
        if loop is None:
            return function()
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                result.set_exception(error)

        loop.call_soon_threadsafe(run)
        return result.result()

    def stop(self) -> None:
        """Drop all connections and end the thread."""
        self.call(self._server.stop)
        self._thread.join()
        self._socket.close()
