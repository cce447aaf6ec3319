"""The network: the operator's own proxies and certificates."""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import requests
import trustme

from partnercenter_emulator import Fault
from tap_partnercenter.deadline import limit_response_time
from tests.command_line import run_tap
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from partnercenter_emulator import Emulator
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync


def pump(client: socket.socket, server: socket.socket) -> None:
    """Forward bytes both ways until one side closes."""
    with client, server, suppress(OSError):
        while True:
            # `select` does not see what TLS has already decrypted.
            waiting = isinstance(client, ssl.SSLSocket) and client.pending()
            ready = [client] if waiting else select.select([client, server], [], [], 10)[0]
            for source, sink in ((client, server), (server, client)):
                if source in ready:
                    if not (block := source.recv(65536)):
                        return
                    sink.sendall(block)


@contextmanager
def listener(accept: Callable[[socket.socket], socket.socket], emulator: Emulator) -> Iterator[int]:
    """Listen on a port and forward its traffic to the emulator."""
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
    """An emulator, and an address at which it is available over TLS."""
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
    """REQUESTS_CA_BUNDLE adds a company's own authority, for the API and for tokens."""
    emulator, address = secure
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    assert_complete(sync(emulator, api_url=address, auth_url=address), emulator)


def test_an_unknown_certificate_is_refused(secure: tuple[Emulator, str], sync: Sync) -> None:
    """Nothing is sent to a server that cannot prove its identity."""
    emulator, address = secure
    result = sync(emulator, api_url=address, auth_url=address)
    assert result.exit_code == 1
    host = address.removeprefix("https://")
    assert result.error.startswith(f"No connection to {host}: certificate not trusted: ")
    assert "set REQUESTS_CA_BUNDLE" in result.error
    assert result.waits == []
    assert emulator.requests == []


#: The message and the remedy for each.
UNUSABLE_PROXIES = {
    "socks5://proxy:1080": ("a SOCKS proxy needs a library", "requests[socks]"),
    "http://:3128": ("the proxy address is invalid", "HTTP_PROXY"),
    "http://u:se-cret@proxy:port": ("the address is invalid", "any proxy"),
    "gopher://u:se-cret@proxy": ("a proxy of this kind is not supported", "ALL_PROXY"),
}


@pytest.mark.parametrize("value", UNUSABLE_PROXIES)
def test_an_unusable_proxy_is_reported_at_once(
    value: str, start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry cannot help: one line, without the proxy's password, and a single attempt."""
    words, remedy = UNUSABLE_PROXIES[value]
    monkeypatch.setenv("ALL_PROXY", value)
    # The message of requests without the library, which other tests have installed.
    missing = mock.Mock(side_effect=requests.exceptions.InvalidSchema("Missing dependencies"))
    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", missing)
    result = sync(start(), auth_url="http://localhost:9")
    assert result.exit_code == 1
    assert result.error.startswith("No connection to localhost:9 through the proxy ")
    assert words in result.error
    assert remedy in result.error
    assert "se-cret" not in result.stderr
    assert result.waits == []


def test_a_server_without_tls_is_reported_at_once(start: Start, sync: Sync) -> None:
    """https for a port that speaks http: the line names the setting."""
    emulator = start()
    address = emulator.url.replace("http://", "https://")
    result = sync(emulator, api_url=address)
    assert "the server does not speak TLS. Check api_url" in result.error
    assert result.waits == []
    result = sync(emulator, auth_url=address)
    assert "the server does not speak TLS. Check auth_url" in result.error


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        (None, "authority.pem. Check REQUESTS_CA_BUNDLE."),
        ("no certificate", "the CA file contains no certificates. If a proxy"),
    ],
)
def test_an_unusable_certificate_bundle_is_reported_at_once(  # noqa: PLR0913, PLR0917
    content: str | None,
    reported: str,
    secure: tuple[Emulator, str],
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A missing file, or one with other content: the line names the variable; no retry."""
    emulator, address = secure
    bundle = tmp_path / "authority.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    result = sync(emulator, api_url=address, auth_url=address)
    assert result.exit_code == 1
    assert reported in result.error
    assert result.waits == []


@pytest.mark.parametrize("setting", ["auth_url", "api_url"])
@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("http://localhost:9", "no response from localhost:9 (connection refused)"),
        ("https://nobody.invalid", "no response from nobody.invalid (host name not resolved)"),
    ],
)
def test_an_unreachable_service_is_reported_at_the_first_attempt(
    address: str, cause: str, setting: str, start: Start
) -> None:
    """The run retries, as the network may come back, but gives the reason at once."""
    result = run_tap(config={**start().tap_config(), setting: address})
    assert result.exit_code == 1
    stream = "sign-in" if setting == "auth_url" else "customers"
    assert result.error.startswith(f"{stream}: {cause}")
    assert f"Check the network and {setting}." in result.error
    reported = [line for line in result.log if cause in line]
    assert reported[0] == f"Retrying for up to 900 s: {cause}"
    # After that at most twice a minute, like progress, and not at each attempt.
    assert len(reported) <= 2 + sum(result.waits) / 30
    assert len(result.waits) >= 11


@pytest.mark.parametrize("setting", ["auth_url", "api_url"])
def test_a_connection_test_ends_within_seconds(setting: str, start: Start) -> None:
    """A user of --test is waiting for the result."""
    config = {**start().tap_config(), setting: "http://localhost:9"}
    result = run_tap("--test", config=config)
    assert result.exit_code == 1
    assert "no response from localhost:9 (connection refused)" in result.error
    assert f"Check the network and {setting}." in result.error
    assert sum(result.waits) <= 15


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_an_unreachable_proxy_is_named_with_its_variables(
    scheme: str, start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address behind it is not to blame. Selenium brings the library for SOCKS."""
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://user:se-cret@localhost:9")
    result = sync(start(), auth_url="https://nobody.invalid", max_retry_seconds=5)
    assert result.exit_code == 1
    cause = "nobody.invalid through the proxy localhost:9 (the proxy: connection refused)"
    assert result.error.startswith(f"sign-in: no response from {cause}")
    assert result.error.endswith("Check HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY.")
    assert "se-cret" not in result.stderr


@pytest.mark.parametrize(("status", "again"), [(407, False), (502, True)])
def test_a_proxy_that_refuses_is_reported(
    status: int,
    again: bool,  # noqa: FBT001 - a parameter of the test
    start: Start,
    sync: Sync,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """If it needs credentials or has no route, the line blames the proxy and names the variable."""
    seen: list[socket.socket] = []

    def accept(client: socket.socket) -> socket.socket:
        seen.append(client)
        client.recv(65536)
        client.sendall(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        client.close()
        raise OSError

    emulator = start()
    with listener(accept, emulator) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:se-cret@127.0.0.1:{port}")
        result = sync(emulator, auth_url="https://localhost:9")
    words = f"localhost:9 through the proxy 127.0.0.1:{port}"
    assert f"{words}: the proxy returned" in result.error.replace(" (the", ": the")
    assert f"HTTP {status}" in result.error
    assert "Check HTTPS_PROXY" in result.error
    assert "se-cret" not in result.stderr
    assert (len(seen) > 1) is again


def test_a_proxy_is_used(start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HTTP_PROXY set, every request goes through the proxy."""
    emulator = start(customers=3)
    # Nothing listens at this address: only the proxy leads to the emulator.
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


def test_a_slow_response_through_a_proxy_times_out(
    start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections through it have a deadline too, which is set up once."""
    emulator = start(Fault(place="customers", times=1, drip="body"), customers=3)
    limited = mock.patch(
        "tap_partnercenter.transport.limit_response_time", wraps=limit_response_time
    )
    with listener(lambda client: client, emulator) as port, limited as limit:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        address = "http://localhost:9"
        result = sync(emulator, api_url=address, auth_url=address, request_timeout=1)
    assert_complete(result, emulator)
    assert "1 retry, " in result.log[-1]
    assert any("(timed out)" in line for line in result.log)
    assert limit.call_count == 2


def test_each_url_has_its_own_proxy_settings(
    start: Start, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY may name the host of one address, which does not affect the other."""
    emulator = start(customers=3)
    behind = "http://localhost:9"
    with listener(lambda client: client, emulator) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        # This address leads to the emulator through the proxy, and to nothing without it.
        assert_complete(sync(emulator, api_url=behind), emulator)
        assert_complete(sync(emulator, auth_url=behind), emulator)


def test_compressed_pages_are_requested(start: Start, sync: Sync) -> None:
    """The server decides whether to compress."""
    emulator = start(gzip=True)
    heads: list[bytes] = []

    def accept(client: socket.socket) -> socket.socket:
        heads.append(client.recv(65536, socket.MSG_PEEK))
        return client

    with listener(accept, emulator) as port:
        result = sync(emulator, api_url=f"http://127.0.0.1:{port}")
    assert_complete(result, emulator)
    assert heads
    assert all(b"\r\nAccept-Encoding: gzip\r\n" in head for head in heads)


@pytest.mark.parametrize("place", ["customers", "continuation", "relationships"])
@pytest.mark.parametrize("workers", [1, 8])
def test_a_response_that_arrives_twice_is_not_taken_for_the_next_one(
    workers: int, place: Place, start: Start, sync: Sync
) -> None:
    """Otherwise a customer would get the relationships of another one."""
    emulator = start(Fault(place=place, times=1, repeat=True), customers=8, resellers=4)
    result = sync(emulator, page_size=3, max_concurrent_requests=workers)
    assert_complete(result, emulator)


class UpperCaseIds(socket.socket):
    """A connection on which request ids come back in upper case."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        ids = rb"(?i)(?<=ms-requestid: )[0-9a-f-]{36}"
        super().sendall(re.sub(ids, lambda found: found[0].upper(), data), flags)


def test_a_response_that_arrives_twice_is_recognized_by_an_id_in_upper_case(
    start: Start, sync: Sync
) -> None:
    """GUIDs are compared without regard to case."""
    emulator = start(Fault(place="relationships", times=1, repeat=True), customers=8)

    def accept(client: socket.socket) -> socket.socket:
        return UpperCaseIds(fileno=client.detach())

    with listener(accept, emulator) as port:
        api_url = f"http://127.0.0.1:{port}"
        result = sync(emulator, api_url=api_url, max_concurrent_requests=1)
    assert_complete(result, emulator)
    assert "1 retry, " in result.log[-1]


def test_the_service_may_assign_request_ids_of_its_own(broken: Broken, sync: Sync) -> None:
    """Only the id of another request of the same run says that responses were mixed up."""
    own = "11111111-2222-4333-8444-555555555555"
    emulator = broken(Fault(headers={"MS-RequestId": own}))
    assert_complete(sync(emulator), emulator)


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_response_is_not_the_response(status: int, broken: Broken, sync: Sync) -> None:
    """A proxy may send Early Hints (RFC 8297), or say that a response takes a while."""
    emulator = broken(Fault(interim=status))
    assert_complete(sync(emulator), emulator)


def test_a_malformed_response_is_called_so(broken: Broken, sync: Sync) -> None:
    """Python accepts a hundred headers."""
    many = {f"X-{number}": "1" for number in range(101)}
    result = sync(broken(Fault(place="customers", headers=many)), max_retry_seconds=0)
    assert result.exit_code == 1
    assert "(malformed response)" in result.error
