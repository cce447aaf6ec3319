"""The way to the service: proxies and certificates of the operator's own."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from partnercenter_emulator import Emulator
    from tests.conftest import Start, Sync


def pump(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until one side is done."""
    with client, server, suppress(OSError):
        while True:
            # What TLS has decrypted already is not seen by `select`.
            waiting = isinstance(client, ssl.SSLSocket) and client.pending()
            ready = [client] if waiting else select.select([client, server], [], [], 10)[0]
            for source, sink in ((client, server), (server, client)):
                if source in ready:
                    if not (block := source.recv(65536)):
                        return
                    sink.sendall(block)


@contextmanager
def listener(accept: Callable[[socket.socket], socket.socket], emulator: Emulator) -> Iterator[int]:
    """Listen on a port and carry what comes to the emulator."""
    port = int(emulator.url.rpartition(":")[2])

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            pump(accept(connection), socket.create_connection(("127.0.0.1", port)))

    def work(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=work, args=[listening], daemon=True).start()
        yield listening.getsockname()[1]
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def authority() -> trustme.CA:
    """A company's own certificate authority."""
    return trustme.CA()


@pytest.fixture
def secure(start: Start, authority: trustme.CA) -> Iterator[tuple[Emulator, str]]:
    """An emulator, and an address at which it answers over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    emulator = start(customers=3)
    with listener(lambda client: context.wrap_socket(client, server_side=True), emulator) as port:
        yield emulator, f"https://localhost:{port}"


def test_a_bundle_of_certificates_is_trusted(
    secure: tuple[Emulator, str],
    authority: trustme.CA,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """REQUESTS_CA_BUNDLE makes a company's own authority known, for the API and for tokens."""
    emulator, address = secure
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert_complete(sync(emulator, api_url=address, auth_url=address), emulator)


def test_an_unknown_certificate_is_refused(secure: tuple[Emulator, str], sync: Sync) -> None:
    """Nothing is sent to somebody who cannot show who it is."""
    emulator, address = secure
    result = sync(emulator, api_url=address, auth_url=address)
    assert result.exit_code == 1
    assert "SSLError" in result.error
    assert emulator.requests == []


def test_a_bundle_that_is_not_there_is_told(
    secure: tuple[Emulator, str],
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line names the variable and the path, and nothing is tried again."""
    emulator, address = secure
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/authority.pem")
    result = sync(emulator, api_url=address, auth_url=address)
    assert result.exit_code == 1
    assert "/nowhere/authority.pem. Check REQUESTS_CA_BUNDLE." in result.error
    assert result.waits == []


def test_a_proxy_is_used(start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HTTP_PROXY set, every request takes that way."""
    emulator = start(customers=3)
    # Nothing listens there: only the proxy leads to the emulator.
    address = "http://localhost:9"
    seen: list[socket.socket] = []

    def accept(client: socket.socket) -> socket.socket:
        seen.append(client)
        return client

    with listener(accept, emulator) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        result = sync(emulator, api_url=address, auth_url=address)
    assert seen
    assert_complete(result, emulator)
