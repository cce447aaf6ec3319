"""Links that no server should send: none redirects a request or a token."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Literal

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import assert_refused
from tests.responses import linked, page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener at another address, which must never receive a token."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        yield server


def assert_no_connection(listener: socket.socket) -> None:
    """Check that no connection waits to be accepted."""
    with pytest.raises(BlockingIOError):
        listener.accept()


def first_page(document: object) -> Fault:
    return Fault(place="customers", json=document)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:{port}/v1/customers?seekOperation=Next",
        "https://127.0.0.1:{port}/v1/customers?seekOperation=Next",
        "https://127.0.0.1:{own}/v1/customers?seekOperation=Next",
        "HTTPS://127.0.0.1:{own}/v1/customers",
        "http://localhost:{own}/v1/customers",
        "//127.0.0.1:{port}/v1/customers",
        "http://user@127.0.0.1:{own}/v1/customers",
        "http://user:word@127.0.0.1:{own}/v1/customers",
        "http://127.0.0.1:{own}.evil.example/v1/customers",
        "http://127.0.0.1:{own}@127.0.0.1:{port}/v1/customers",
        "http://127.0.0.1:{port}\\@127.0.0.1:{own}/v1/customers",
        "http://127.0.0.1:{own}\\@127.0.0.1:{port}/v1/customers",
        "http:\\\\127.0.0.1:{port}/v1/customers",
        "http:/127.0.0.1:{port}/v1/customers",
        "http:127.0.0.1:{port}/v1/customers",
        "@127.0.0.1:{port}/v1/customers",
        ":{port}/v1/customers",
        ".evil.example/v1/customers",
        "http://[::1]:{port}/v1/customers",
        "http://127.0.0.1:99999/v1/customers",
        "http://127.0.0.1:port/v1/customers",
        "http://[/v1/customers",
        "ftp://127.0.0.1:{own}/v1/customers",
        "file:///etc/passwd",
        "http:///v1/customers",
    ],
)
@pytest.mark.parametrize("action", ["json", "link_to"])
def test_a_link_to_another_origin_gets_no_request(
    uri: str, action: str, start: Start, sync: Sync, listener: socket.socket
) -> None:
    """Another scheme, host, port or user: refused before anything is sent, above all the token."""
    emulator = start()
    address = uri.format(port=listener.getsockname()[1], own=emulator.url.rpartition(":")[2])
    fault = (
        first_page(linked(address))
        if action == "json"
        else Fault(place="customers", link_to=address)
    )
    emulator.faults = [fault]
    result = sync(emulator, page_size=3)
    assert_refused(result, "the service named a next page")
    assert address not in result.stderr
    assert "continuation" not in emulator.stats().by_place
    assert "other" not in emulator.stats().by_place
    assert_no_connection(listener)


@pytest.mark.parametrize(
    "uri",
    [
        "/v1/../admin?x=1",
        "/v1/%2e%2e/admin",
        "/v1/%2E%2e/admin",
        "/v1/.%2e/admin",
        "/v1/customers/..",
        "/v1/./customers",
        "/v1/..%2fadmin",
        "/v1/..%5cadmin",
        "/v1\\..\\admin",
        "/../admin",
        "customers?seekOperation=Next",
        "?seekOperation=Next",
        "#next",
        "",
        " ",
        "/v1/customers next",
        "/v1/customers\r\nX-Evil: 1",
        "/v1/customers\tx",
        "/v1/kunden/ä",
        "/v1/customers\u202e",
        None,
        5,
        ["/v1/customers"],
        {"uri": "/v1/customers"},
    ],
)
def test_a_link_outside_the_api_is_not_followed(uri: object, start: Start, sync: Sync) -> None:
    """A path outside /v1, or a malformed one, is refused."""
    emulator = start(first_page(linked(uri)))
    assert_refused(sync(emulator), "the service named a next page")
    assert emulator.stats().by_place.keys() <= {"token", "customers", "relationships"}


@pytest.mark.parametrize(
    "header",
    [
        {"key": "Authorization", "value": "Bearer other"},
        {"key": "authorization", "value": "Bearer other"},
        {"key": "Host", "value": "evil.example"},
        {"key": "Cookie", "value": "a=b"},
        {"key": "Content-Length", "value": "5"},
        {"key": "Transfer-Encoding", "value": "chunked"},
        {"key": "Connection", "value": "close"},
        {"key": "MS-ContinuationToken", "value": "a\r\nAuthorization: Bearer other"},
        {"key": "MS-ContinuationToken", "value": "a\nb"},
        {"key": "MS-ContinuationToken", "value": "naïve"},
        {"key": "MS-ContinuationToken", "value": None},
        {"key": "MS-ContinuationToken", "value": 5},
        {"key": "MS-ContinuationToken"},
        {"key": "X-Evil\r\nHost", "value": "evil.example"},
        {"key": "X Evil", "value": "a"},
        {"key": "", "value": "a"},
        {"key": None, "value": "a"},
        {"value": "a"},
        "MS-ContinuationToken: a",
        None,
    ],
)
def test_a_link_cannot_set_the_taps_own_headers(header: object, start: Start, sync: Sync) -> None:
    """Only the tap authorizes requests, and a header value cannot smuggle in a second header."""
    emulator = start(first_page(linked("/customers?seekOperation=Next", header)))
    assert_refused(sync(emulator), "with a header that the tap must not send")
    assert "continuation" not in emulator.stats().by_place


def test_spaces_around_a_header_of_a_link_are_removed(start: Start, sync: Sync) -> None:
    """They are not part of its value (RFC 9110, section 5.5)."""
    emulator = start()
    sync(emulator, page_size=3)
    header = {"key": "MS-ContinuationToken", "value": "  no such token "}
    emulator.faults = [first_page(linked("/customers?seekOperation=Next", header))]
    assert_refused(sync(emulator, page_size=1), "HTTP 400, code 2000")


@pytest.mark.parametrize("name", ["MS-CorrelationId", "ms-requestid", "User-Agent"])
def test_a_link_cannot_change_the_ids_of_the_run(name: str, start: Start, sync: Sync) -> None:
    """The tap's own ids, by which support finds the run, are kept."""
    header = {"key": name, "value": "00000000-0000-0000-0000-000000000000"}
    token = {"key": "MS-ContinuationToken", "value": "none"}
    emulator = start(first_page(linked("/customers?seekOperation=Next", header, token)))
    sync(emulator)
    api = [request for request in emulator.requests if request.place == "continuation"]
    assert api
    for request in api:
        assert "00000000-0000" not in (
            request.correlation_id + request.request_id + request.user_agent
        )


@pytest.mark.parametrize(
    "document",
    [
        page(links="/v1/customers"),
        page(links=["/v1/customers"]),
        page(links=5),
        page(links={"next": "/v1/customers"}),
        page(links={"next": ["/v1/customers"]}),
        page(links={"next": True}),
        page(links={"next": {"uri": "/customers?seekOperation=Next", "headers": 5}}),
        page(continuationToken=5),
        page(continuationToken=["a"]),
        page(continuationToken="a\r\nHost: evil.example"),
        page(continuationToken="naïve"),
        page(ContinuationToken="a"),
        page(Links={"next": {"uri": "/customers?seekOperation=Next"}}),
        page(links={"Next": {"uri": "/customers?seekOperation=Next"}}),
        page(nextLink="/customers?seekOperation=Next"),
        page(**{"@odata.nextLink": "/customers?seekOperation=Next"}),
    ],
)
def test_a_continuation_in_an_unknown_form_is_not_the_end(
    document: dict[str, Any], start: Start, sync: Sync
) -> None:
    """A continuation that the tap does not understand must not end the data silently."""
    assert_refused(sync(start(first_page(document))), "the service ")


@pytest.mark.parametrize(
    "document",
    [
        page(links=None),
        page(links={}),
        page(links={"next": None}),
        page(continuationToken=None),
        page(continuationToken=""),
        page(continuationToken="  "),
        page(nextLink=None),
        page(Links={"Self": {"uri": "/customers"}}),
        page(attributes={"objectType": "Collection", "nextRefresh": "2027-01-01"}),
        {"totalCount": 0},
        {"items": None, "attributes": {"objectType": "Collection"}},
    ],
)
def test_the_end_of_the_data_has_many_forms(
    document: dict[str, Any], start: Start, sync: Sync
) -> None:
    """Absent, null and empty all mean that nothing follows."""
    result = sync(start(first_page(document)), catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.records("customers") == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("place", ["continuation", "partition_continuation"])
def test_a_loop_of_pages_is_an_error(
    length: Literal[1, 2], place: Place, start: Start, sync: Sync
) -> None:
    """The log names a repeated continuation by its digest; nothing runs forever."""
    emulator = start(Fault(place=place, skip=1, cycle=length), customers=30, resellers=1)
    result = sync(emulator, page_size=3)
    stream = "customers" if place == "continuation" else "reseller_customers"
    assert_refused(result, "a second time: its pages form a loop", stream)
    assert len(emulator.requests) < 100


@pytest.mark.parametrize("sent", [rb"\ud83d", b"\xff"])
@pytest.mark.parametrize(
    "envelope",
    [
        b'"continuationToken": "t%s"',
        b'"links": {"next": {"uri": "/customers?seek=%s"}}',
        b'"links": {"next": {"uri": "/customers", "headers": [{"key": "A", "value": "%s"}]}}',
        b'"links": {"next": {"uri": "/customers", "headers": [{"key": "%s", "value": "a"}]}}',
        b'"links": "%s"',
    ],
)
def test_a_broken_continuation_is_not_followed(
    envelope: bytes, sent: bytes, start: Start, sync: Sync
) -> None:
    """It is neither sent in an altered form nor taken for the end of the data."""
    body = b'{"items": [{"id": "a"}], %s}' % (envelope % sent)
    emulator = start(Fault(place="customers", body=body))
    assert_refused(sync(emulator), "the service ")
    assert "continuation" not in emulator.stats().by_place
