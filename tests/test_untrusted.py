"""Input that no server should send: every case has a defined, safe outcome."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any, Literal

import pytest

from partnercenter_emulator import Emulator, Fault, Fixture
from tests.command_line import QuickClock, catalog_of, run_tap
from tests.failures import sampled
from tests.truth import assert_complete, held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from partnercenter_emulator.faults import Place
    from tests.command_line import Result
    from tests.conftest import Start, Sync

RESELLER = {"id": "9b1de2aa-7777-4888-9999-aaaabbbbcccc", "name": "Harbor Resale"}
SECRET = "Initial-Passw0rd"  # noqa: S105 - planted


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener at another address, which must never receive a token."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003
        yield server


def assert_nobody_came(listener: socket.socket) -> None:
    """Check that no connection waits to be accepted."""
    with pytest.raises(BlockingIOError):
        listener.accept()


STREAMS: dict[Place, str] = {
    "customers": "customers",
    "relationships": "customer_relationships",
    "resellers": "indirect_resellers",
}


def customer(identifier: object, **more: object) -> dict[str, Any]:
    return {"id": identifier, "companyProfile": {"companyName": "Contoso"}, **more}


def page(*items: object, **more: object) -> dict[str, Any]:
    return {"totalCount": len(items), "items": [*items], **more}


def linked(uri: object, *headers: object, **more: object) -> dict[str, Any]:
    """A page with a link to the URI, with some headers."""
    link = {"uri": uri, "method": "GET", "headers": [*headers]}
    return page(customer("a"), links={"next": link}, **more)


def first_page(document: object) -> Fault:
    return Fault(place="customers", json=document)


def assert_refused(result: Result, why: str, stream: str = "customers") -> None:
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert "Unexpected" not in result.error
    assert result.error.startswith(f"{stream}: ")
    assert why in result.error


# Links


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
    uri: str,
    action: str,
    start: Start,
    sync: Sync,
    listener: socket.socket,
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
    assert "continuation" not in emulator.stats().by_place
    assert "other" not in emulator.stats().by_place
    assert_nobody_came(listener)


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
def test_a_link_out_of_the_api_is_not_followed(uri: object, start: Start, sync: Sync) -> None:
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
def test_a_link_cannot_set_headers_of_ours(header: object, start: Start, sync: Sync) -> None:
    """Only the tap authorizes requests, and a header value cannot smuggle in a second header."""
    emulator = start(first_page(linked("/customers?seekOperation=Next", header)))
    assert_refused(sync(emulator), "with a header that the tap must not send")
    assert "continuation" not in emulator.stats().by_place


def test_blanks_around_a_header_of_a_link_mean_nothing(start: Start, sync: Sync) -> None:
    """They are not part of its value (RFC 9110, section 5.5)."""
    emulator = start()
    sync(emulator, page_size=3)
    header = {"key": "MS-ContinuationToken", "value": "  no such token "}
    emulator.faults = [first_page(linked("/customers?seekOperation=Next", header))]
    assert_refused(sync(emulator, page_size=1), "HTTP 400, code 2000")


@pytest.mark.parametrize("name", ["MS-CorrelationId", "ms-requestid", "User-Agent"])
def test_a_link_cannot_hide_the_run(name: str, start: Start, sync: Sync) -> None:
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
        page(continuationToken=5),
        page(continuationToken=["a"]),
        page(continuationToken="a\r\nHost: evil.example"),
        page(continuationToken="naïve"),
    ],
)
def test_a_continuation_in_an_unknown_form_is_no_end(
    document: dict[str, Any],
    start: Start,
    sync: Sync,
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
        {"totalCount": 0},
        {"items": None, "attributes": {"objectType": "Collection"}},
    ],
)
def test_the_end_of_the_data_has_many_forms(
    document: dict[str, Any],
    start: Start,
    sync: Sync,
) -> None:
    """Absent, null and empty all mean that nothing follows."""
    result = sync(start(first_page(document)), catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.records("customers") == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("place", ["continuation", "partition_continuation"])
def test_a_circle_of_pages_is_an_error(
    length: Literal[1, 2],
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """The log names a repeated continuation by its digest; nothing runs forever."""
    emulator = start(Fault(place=place, skip=1, cycle=length), customers=30, resellers=1)
    result = sync(emulator, page_size=3)
    stream = "customers" if place == "continuation" else "reseller_customers"
    assert_refused(result, "a second time: its pages form a loop", stream)
    assert len(emulator.requests) < 100


def test_empty_pages_are_not_the_end(start: Start, sync: Sync) -> None:
    """An empty page with a continuation is followed by the next page."""
    emulator = start(customers=30, empty_page_every=2)
    assert_complete(sync(emulator, page_size=4), emulator)


# Bodies


BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from tap_partnercenter.tap import TapPartnerCenter
TapPartnerCenter.cli()
"""


@pytest.mark.parametrize("place", ["token", "customers", "relationships"])
def test_a_huge_body_is_cut_off(
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """A body is read up to a limit and no further."""
    emulator = start(Fault(place=place, huge_body=100_000_000))
    result = sync(emulator, max_retry_seconds=0)
    assert result.exit_code == 1
    assert "a body of more than 64 MiB" in result.error
    assert "Traceback" not in result.stderr


PACKED = {"Content-Encoding": "gzip"}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["token", "customers", "relationships"])
def test_a_decompression_bomb_is_cut_off(place: Place, start: Start, sync: Sync) -> None:
    """The decompressed size has the same limit as an uncompressed body."""
    bomb = gzip.compress(b" " * 100_000_000, compresslevel=1)
    emulator = start(Fault(place=place, body=bomb, headers=PACKED))
    result = sync(emulator, max_retry_seconds=0)
    assert result.exit_code == 1
    assert "a body of more than 64 MiB" in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["token", "customers", "relationships"])
@pytest.mark.parametrize("length", [12, -1], ids=["begun", "almost whole"])
@pytest.mark.parametrize("content", [b"", b'{"totalCount": 0, "items": []}'])
def test_a_compressed_body_without_its_end_is_asked_for_again(
    content: bytes,
    length: int,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """It could be taken for the empty response for a customer without relationships."""
    cut = gzip.compress(b"\xef\xbb\xbf" + content)[:length]
    emulator = broken(Fault(place=place, times=1, body=cut, headers=PACKED))
    result = sync(emulator)
    assert_complete(result, emulator)
    assert emulator.stats().by_place[place]["200"] > 1


def test_a_body_compressed_in_two_pieces_is_whole(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A server that compresses while it writes may send that (RFC 1952)."""
    pieces = b"".join(gzip.compress(piece) for piece in (b'{"totalCount": 0, ', b'"items": []}'))
    emulator = broken(Fault(place="customers", body=pieces, headers=PACKED))
    result = sync(emulator)
    assert result.exit_code == 0
    assert result.records("customers") == []


def test_a_body_that_is_not_compressed_as_it_says_is_told(start: Start, sync: Sync) -> None:
    """The line says so, and quotes nothing from the body."""
    emulator = start(Fault(place="customers", body=b"plain", headers=PACKED))
    result = sync(emulator)
    assert "HTTP 200 with a body that cannot be decompressed" in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("bom", ["none", "all"])
@pytest.mark.parametrize("compressing", [False, True])
def test_answers_are_the_same_compressed_or_not(
    compressing: bool,  # noqa: FBT001
    bom: str,
    start: Start,
    sync: Sync,
) -> None:
    """The tap asks for compression, and the server may use it or not."""
    emulator = start(gzip=compressing, bom=bom, customers=60)
    assert_complete(sync(emulator, page_size=20), emulator)


@pytest.mark.slow
def test_a_two_gigabyte_body_fits_into_little_memory(start: Start) -> None:
    """Neither the announced size nor the size of a body takes up memory."""
    emulator = start(Fault(place="customers", huge_body=2_000_000_000))
    environment = {**emulator.environment(), "TAP_PARTNERCENTER_MAX_RETRY_SECONDS": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", BOUNDED, str(1_500_000_000), "--config=ENV"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "a body of more than 64 MiB" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("place", ["token", "customers", "relationships", "resellers"])
def test_deeply_nested_json_is_no_crash(place: Place, start: Start, sync: Sync) -> None:
    """A body too deep for any decoder counts as unreadable."""
    emulator = start(Fault(place=place, deep_json=1_000_000))
    result = sync(emulator, max_retry_seconds=0)
    assert result.exit_code == 1
    assert "Unexpected" not in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("body", "place"),
    sampled(
        [
            b'{"it\xffems": [{"id": "a"}], "totalCount": 1}',
            b'{"items": [{"id": "a"}], "contin\\ud83duationToken": "b"}',
            b'{"items": [{"id": "a"}], "links": {"ne\xfft": {"uri": "/customers"}}}',
            b'{"items": [{"id": "a", "name": "\xff"}], "totalCount": NaN}',
            b'{"items": [{"id": "a"}], "totalCount": NaN}',
            b'{"items": [{"id": "a"}',
            b'{"items": [{"id": "a"}]} trailing',
            b"5",
            b'"text"',
            b"<html></html>",
            b"\xff\xfe{\x00}\x00",
            b'{"items": "none"}',
            b'{"items": {"0": {"id": "a"}}}',
            b'{"items": ["a"]}',
            b'{"items": [null]}',
            b'{"items": [[{"id": "a"}]]}',
            b'{"value": []}',
            b'{"code": 20002, "description": "with status 200"}',
        ],
        ["customers", "relationships"],
    ),
)
def test_a_body_that_is_no_collection_is_asked_for_again_and_refused(
    body: bytes,
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """Nothing from it is emitted, and the data does not end silently."""
    emulator = start(Fault(place=place, body=body))
    result = sync(emulator, max_concurrent_requests=1, max_retry_seconds=60)
    stream = STREAMS[place]
    assert_refused(result, "HTTP 200 with", stream)
    assert emulator.stats().by_place[place]["200"] > 1
    assert result.records(stream) == []


#: Forms of "no relationships" in the first answer for a customer.
NOTHING: dict[str, dict[str, Any]] = {
    "null": {"body": b"null"},
    "null behind a mark": {"body": b"\xef\xbb\xbfnull"},
    "null in blanks": {"body": b" null\r\n"},
    "an object": {"body": b"{}"},
    "an object behind a mark": {"body": b"\xef\xbb\xbf{ }"},
    "no body": {"empty_body": True},
    "a mark alone": {"body": b"\xef\xbb\xbf"},
    "204": {"status": 204},
}


@pytest.mark.parametrize("answer", NOTHING)
def test_a_customer_for_whom_nothing_comes_has_no_relationships(
    answer: str,
    start: Start,
    sync: Sync,
) -> None:
    """One request, no retry and no skip, and the table is complete without the customer."""
    emulator = start(resellers=1)
    alone = held(emulator)["customer_relationships"][2][0]
    emulator.faults = [Fault(place="relationships", customer_id=alone, **NOTHING[answer])]
    result = sync(emulator, page_size=3, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    keys = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert keys == [key for key in held(emulator)["customer_relationships"] if key[0] != alone]
    assert sum(emulator.stats().by_place["relationships"].values()) == 7
    assert result.levels("WARNING") == []
    assert result.counts["ACTIVATE_VERSION"] == 4


@pytest.mark.parametrize("answer", NOTHING)
def test_a_proxy_that_swallows_every_answer_is_told_and_deletes_nothing(
    answer: str,
    start: Start,
    sync: Sync,
) -> None:
    """An empty response for one customer is valid; for every customer it may be an outage."""
    emulator = start(customers=10, resellers=1)
    settings: dict[str, Any] = {
        "emit_activate_version_messages": True,
        "max_vanished_percent": 100,
    }
    before = sync(emulator, page_size=4, **settings)
    emulator.faults = [Fault(place="relationships", **NOTHING[answer])]
    result = sync(emulator, page_size=4, state=before.state, **settings)
    assert result.exit_code == 0, result.stderr
    (warning,) = result.levels("WARNING")
    assert warning.startswith("customer_relationships: the service sent an empty response")
    reason = "customer_relationships: the service sent an empty response for every customer"
    assert f"{reason}, so deletes are disabled for this run" in result.log
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]
    # The next run is compared with the last trusted count.
    bookmarks = (run.state["bookmarks"]["customer_relationships"] for run in (before, result))
    assert next(bookmarks) == next(bookmarks)


@pytest.mark.parametrize(
    ("customers", "faults"),
    [
        (9, [Fault(place="relationships", status=204)]),
        (10, [Fault(place="relationships", json={"totalCount": 0, "items": []})]),
        (10, [Fault(place="relationships", json={"totalCount": 0})]),
        (11, [Fault(place="relationships", times=10, status=204)]),
    ],
    ids=["few", "empty collections", "without items", "a single collection"],
)
def test_customers_without_relationships_are_no_outage(
    customers: int,
    faults: list[Fault],
    start: Start,
    sync: Sync,
) -> None:
    """A partner may have few customers, and a customer no reseller."""
    result = sync(
        start(*faults, customers=customers, resellers=1),
        emit_activate_version_messages=True,
    )
    assert result.exit_code == 0, result.stderr
    assert result.levels("WARNING") == []
    assert result.counts["ACTIVATE_VERSION"] == 4


@pytest.mark.parametrize("answer", NOTHING)
@pytest.mark.parametrize("form", ["link", "token"])
def test_nothing_behind_a_continuation_of_a_customer_is_an_error(
    form: str,
    answer: str,
    start: Start,
    sync: Sync,
) -> None:
    """The service announced more: what it then leaves out would be lost silently."""
    partner = {"id": RESELLER["id"], "relationshipType": "is_indirect_reseller_of"}
    next_page = linked("/customers/a/relationships?seekOperation=Next")
    first = {**next_page, "items": [partner]}
    if form == "token":
        first = page(partner, continuationToken="more")
    emulator = start(
        Fault(place="relationships", times=1, json=first),
        Fault(place="relationships", **NOTHING[answer]),
        Fault(place="continuation", **NOTHING[answer]),
        fixture=Fixture(customers=[customer("a")]),
    )
    result = sync(emulator, max_retry_seconds=60)
    assert_refused(result, "HTTP 20", "customer_relationships")
    assert "Gave up after retrying for up to 60 s (max_retry_seconds)." in result.error


@pytest.mark.parametrize(
    ("answer", "place"),
    sampled(NOTHING, ["customers", "continuation", "partition", "resellers"], each=2),
)
def test_nothing_in_place_of_a_list_is_an_error(
    answer: str,
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """An empty list is a collection without items."""
    result = sync(start(Fault(place=place, **NOTHING[answer])), page_size=3, max_retry_seconds=60)
    assert result.exit_code == 1
    assert "HTTP 20" in result.error
    assert "Gave up after retrying for up to 60 s (max_retry_seconds)." in result.error


#: A text on the wire, and what is emitted for it.
BROKEN = {
    "first half of a pair": (rb"Caf\ud83d", "Caf\ufffd"),
    "second half of a pair": (rb"\ude00 Bakery", "\ufffd Bakery"),
    "half a pair before text": (rb"A\uD83Dbc", "A\ufffdbc"),
    "half a pair before a whole one": (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    "halves in the wrong order": (rb"\ude00\ud83d", "\ufffd\ufffd"),
    "Latin-1": (b"Caf\xe9 Noir", "Caf\ufffd Noir"),
    "cut short": (b"Caf\xc3", "Caf\ufffd"),
    "NUL": (rb"Caf\u0000 \\u0000", "Caf\ufffd \\u0000"),
    "NUL as it is": (b"Caf\0", "Caf\ufffd"),
    "both": (rb"\ud83d" + b"\x80", "\ufffd\ufffd"),
    "alongside what is whole": (
        rb"\ud83d\ude00 \\ud83d \u0000" + b"\xff",
        "\U0001f600 \\ud83d \ufffd\ufffd",
    ),
}


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("case", BROKEN)
def test_an_odd_character_costs_no_more_than_itself(
    case: str,
    mark: bytes,
    start: Start,
    sync: Sync,
) -> None:
    """The page is not requested again, all else is intact, and the summary names the field."""
    sent, emitted = BROKEN[case]
    body = (
        b'{"items": [{"id": "a", "companyProfile": {"companyName": "%s", "domain": "\xc3\xbc"}},'
        b' {"id": "b", "tags": ["x", "%s"], "links": {"self": "%s"}, "userCredentials": "%s"}]}'
    )
    emulator = start(Fault(place="customers", body=mark + body % (sent, sent, sent, sent)))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0, result.stderr
    assert result.records("customers") == [
        {"id": "a", "companyProfile": {"companyName": emitted, "domain": "\u00fc"}},
        {"id": "b", "tags": ["x", emitted]},
    ]
    assert emulator.stats().by_place["customers"] == {"200": 1}
    (line,) = result.levels("WARNING")
    assert line == (
        "The service sent broken characters (lone surrogates, NUL, or invalid UTF-8); "
        "each became U+FFFD: customers.companyProfile.companyName (1), customers.tags (1)"
    )
    assert "Caf" not in result.stderr
    assert "Bakery" not in result.stderr


def test_a_control_character_is_part_of_its_text(start: Start, sync: Sync) -> None:
    """JSON requires escaping it; if the service does not, no page is lost."""
    body = b'{"items": [{"id": "a", "commerceId": "x\x01y\tz"}]}'
    result = sync(start(Fault(place="customers", body=body)), catalog=catalog_of("customers"))
    assert result.exit_code == 0, result.stderr
    assert result.records("customers") == [{"id": "a", "commerceId": "x\x01y\tz"}]
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("text", ["\ufffd", "\U0001f600", "\u00fc", "\\ud83d", "\\u0000"])
def test_a_character_that_only_looks_odd_is_left_alone(text: str, start: Start, sync: Sync) -> None:
    """A complete surrogate pair, and a replacement character from the service, are no errors."""
    emulator = start(Fault(place="customers", add_fields={"commerceId": text}))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert [record["commerceId"] for record in result.records("customers")] == [text] * 7
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("sent", [rb"\ud83d", rb"\u0000", b"\xff"])
@pytest.mark.parametrize("place", ["customers", "relationships", "resellers"])
def test_a_key_with_an_odd_character_ends_the_run(
    place: Place,
    sent: bytes,
    start: Start,
    sync: Sync,
) -> None:
    """Two keys that differ only in the lost characters would become one row."""
    emulator = start(Fault(place=place, body=b'{"items": [{"id": "a%s"}]}' % sent))
    result = sync(emulator, reseller_ids=[RESELLER["id"]])
    assert_refused(result, "whose id, which is part of the key, has a broken", STREAMS[place])


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
    envelope: bytes,
    sent: bytes,
    start: Start,
    sync: Sync,
) -> None:
    """It is neither sent in an altered form nor taken for the end of the data."""
    body = b'{"items": [{"id": "a"}], %s}' % (envelope % sent)
    emulator = start(Fault(place="customers", body=body))
    assert_refused(sync(emulator), "the service ")
    assert "continuation" not in emulator.stats().by_place


@pytest.mark.parametrize("status", [202, 203, 206])
def test_only_a_200_holds_a_page(status: int, start: Start, sync: Sync) -> None:
    """A partial page, or an answer still to come, is not taken for a whole one."""
    emulator = start(Fault(place="customers", status=status, json=page(customer("a"))))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert_refused(result, f"HTTP {status}")
    assert result.records("customers") == []


def test_odd_characters_are_counted_once_for_each_row(start: Start, sync: Sync) -> None:
    """Even if the list of resellers is read twice: for its rows, and for its ids."""
    body = b'{"items": [{"id": "%s", "name": "\xff"}]}' % RESELLER["id"].encode()
    result = sync(start(Fault(place="resellers", body=body)))
    assert result.exit_code == 0
    (line,) = result.levels("WARNING")
    assert line.endswith("indirect_resellers.name (1)")


def test_an_odd_character_in_an_error_does_not_hide_its_code(start: Start, sync: Sync) -> None:
    """The description of an error may contain one too."""
    body = b'{"code": 900329, "description": "\xff"}'
    emulator = start(Fault(place="customers", status=403, body=body))
    assert_refused(sync(emulator), "HTTP 403, code 900329")


def test_numbers_of_any_size_are_borne(start: Start, sync: Sync) -> None:
    """A number too large for any type is no reason to lose the page."""
    body = b'{"items": [{"id": "a", "relationshipToPartner": %s}], "totalCount": %s}'
    for number in (b"1e400", b"-0.0", b"9" * 30, b"9" * 5000, b"0." + b"1" * 5000):
        emulator = start(Fault(place="customers", body=body % (number, number)))
        result = sync(emulator, catalog=catalog_of("customers"), max_retry_seconds=0)
        assert result.exit_code in {0, 1}
        assert "Traceback" not in result.stderr
        assert "Unexpected" not in result.stderr


# Records


@pytest.mark.parametrize(
    "identifier",
    [
        "../admin",
        "a/b",
        "..",
        ".",
        "%2e%2e",
        "a%2fb",
        "a?b=c",
        "a#b",
        "a b",
        "a\\b",
        "ä",
        "a\r\nb",
        "x" * 129,
    ],
)
def test_an_odd_customer_id_makes_no_request(identifier: str, start: Start, sync: Sync) -> None:
    """The record is emitted unchanged; its id is not used in an address or quoted in logs."""
    emulator = start(fixture=Fixture(customers=[customer("good"), customer(identifier)]))
    result = sync(emulator)
    assert result.exit_code == 0
    assert result.keys("customers", "id") == [("good",), (identifier,)]
    paths = [r.path for r in emulator.requests if r.place not in {"token", "resellers"}]
    assert len(paths) == 2
    assert paths[1] == "/v1/customers/good/relationships"
    (line,) = result.levels("WARNING")
    assert line == (
        "customer_relationships: 1 customer skipped; their records are missing: "
        "(invalid id) (its id cannot be used in a URL)"
    )


@pytest.mark.parametrize("identifier", ["", None, True, 1.5, ["a"], {"a": 1}])
@pytest.mark.parametrize("place", ["customers", "relationships", "resellers"])
def test_a_record_without_a_usable_id_ends_the_run(
    identifier: object,
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """A record without a key cannot be loaded; leaving it out would lose it silently."""
    emulator = start(Fault(place=place, json=page(customer(identifier))))
    result = sync(emulator, reseller_ids=[RESELLER["id"]])
    assert result.exit_code == 1
    assert "a record without id, which is part of the key" in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("place", ["customers", "relationships", "resellers", "partition"])
def test_a_record_that_lost_its_id_ends_the_run(place: Place, start: Start, sync: Sync) -> None:
    """The same applies if the field is missing."""
    emulator = start(Fault(place=place, drop_field="items.id"))
    result = sync(emulator, reseller_ids=[str(r["id"]) for r in emulator.resellers()])
    assert result.exit_code == 1
    assert "a record without id" in result.error


@pytest.mark.parametrize("fault", ["items_not_list", "item_not_object"])
@pytest.mark.parametrize("place", ["customers", "continuation", "partition", "resellers"])
def test_items_of_another_kind_are_refused(
    fault: str,
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """If `items` is not a list of objects, the page is retried, and then the run gives up."""
    action: dict[str, Any] = {fault: True}
    emulator = start(Fault(place=place, **action))
    result = sync(emulator, page_size=3, max_retry_seconds=0)
    assert result.exit_code == 1
    assert "JSON that is not a collection of records" in result.error


def test_an_integer_for_an_enumeration_becomes_text(start: Start, sync: Sync) -> None:
    """The vendor's own specification has numbers where the service sends names."""
    emulator = start(
        Fault(place="customers", add_fields={"relationshipToPartner": 1}),
        Fault(place="relationships", add_fields={"relationshipType": 2}),
        customers=3,
    )
    result = sync(emulator)
    assert result.exit_code == 0
    assert {r["relationshipToPartner"] for r in result.records("customers")} == {"1"}
    assert {r["relationshipType"] for r in result.records("customer_relationships")} == {"2"}


@pytest.mark.parametrize("separator", ["__", "_of_"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"customers": {"short": "id[:4]"}}}])
def test_a_flattened_record_has_no_column_that_the_schema_lacks(
    maps: dict[str, Any],
    depth: int,
    separator: str,
    start: Start,
    sync: Sync,
) -> None:
    """A null object is null in each of its columns, like one whose fields are null."""
    fields = {"companyProfile": None, "billingProfile": {"id": "b", "defaultAddress": None}}
    emulator = start(Fault(place="customers", add_fields=fields), customers=1)
    result = sync(
        emulator,
        catalog=catalog_of("customers"),
        flattening_enabled=True,
        flattening_max_depth=depth,
        flattening_separator=separator,
        **maps,
    )
    assert result.exit_code == 0, result.stderr
    (schema,) = (m["schema"]["properties"] for m in result.messages if m["type"] == "SCHEMA")
    (record,) = result.records("customers")
    assert record.keys() <= schema.keys()
    assert record[f"billingProfile{separator}id"] == "b"
    for name in ("companyProfile", f"billingProfile{separator}defaultAddress"):
        columns = [column for column in schema if column.startswith(name)]
        assert columns
        assert {record[column] for column in columns} == {None}


@pytest.mark.parametrize("maps", [{}, {"stream_maps": {"customers": {"short": "id[:4]"}}}])
def test_a_null_object_empties_no_column_of_a_similar_name(
    maps: dict[str, Any],
    start: Start,
    sync: Sync,
) -> None:
    """Only its own fields become null, and not every column that starts with its name."""
    catalog = catalog_of("customers")
    (stream,) = (s for s in catalog["streams"] if s["tap_stream_id"] == "customers")
    stream["schema"]["properties"] |= {
        "extraText": {"type": ["string", "null"]},
        "extra": {"type": ["object", "null"], "properties": {"a": {"type": ["string", "null"]}}},
    }
    fields = {"extraText": "kept", "extra": None}
    emulator = start(Fault(place="customers", add_fields=fields), customers=1)
    settings = {"flattening_enabled": True, "flattening_max_depth": 1, **maps}
    result = sync(emulator, catalog=catalog, **settings)
    assert result.exit_code == 0, result.stderr
    (record,) = result.records("customers")
    assert (record["extraText"], record["extra__a"]) == ("kept", None)


@pytest.mark.parametrize(
    ("sent", "emitted"),
    [
        ((False, 0, 0.0, "false", "False", "FALSE", " false ", "0"), False),
        ((True, 1, 1.0, "true", "True", " TRUE", "1"), True),
        (("no", "", "falsch", 2, -1, 0.5, [], [True], {"a": True}), None),
        ((None,), None),
    ],
)
def test_what_says_false_is_never_true(
    sent: tuple[object, ...],
    emitted: object,
    start: Start,
    sync: Sync,
) -> None:
    """A boolean may be written as text or number; any other value becomes null and is reported."""
    records = [customer(f"c{n}", allowDelegatedAccess=value) for n, value in enumerate(sent)]
    emulator = start(Fault(place="customers", json=page(*records)))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    values = [record["allowDelegatedAccess"] for record in result.records("customers")]
    assert len(values) == len(sent)
    assert all(value is emitted for value in values)
    told = (
        "The service sent values that are neither true nor false; they became null: "
        f"customers.allowDelegatedAccess ({len(sent)})"
    )
    odd = emitted is None and sent != (None,)
    assert result.levels("WARNING") == [told] * odd


def test_unknown_fields_are_counted_and_named_once(start: Start, sync: Sync) -> None:
    """A field missing from the schema is dropped; the summary says so, but hides odd names."""
    fields = {"loyaltyTier": "gold", "x" * 70: 1, "with blank": 2, "ünïcode": 3, "a\nb": 4}
    emulator = start(Fault(place="customers", add_fields=fields), customers=5)
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert all(not fields.keys() & record.keys() for record in result.records("customers"))
    (line,) = result.levels("WARNING")
    assert "customers.loyaltyTier (5)" in line
    assert "customers.(invalid name) (20)" in line
    assert "gold" not in result.stderr


def test_a_flood_of_unknown_fields_stays_one_short_line(start: Start, sync: Sync) -> None:
    """A thousand new names do not make the line longer."""
    fields = {f"field{number}": number for number in range(1000)}
    emulator = start(Fault(place="customers", add_fields=fields), customers=3)
    result = sync(emulator, catalog=catalog_of("customers"))
    (line,) = result.levels("WARNING")
    assert "others (2970)" in line
    assert len(line) < 500


CREDENTIALS = {"userName": "admin", "password": SECRET}


@pytest.mark.parametrize(
    "fields",
    [
        {"userCredentials": CREDENTIALS},
        {"UserCredentials": CREDENTIALS},
        {"USERCREDENTIALS": SECRET},
        {"companyProfile": {"userCredentials": CREDENTIALS}},
        {"companyProfile": {"address": {"usercredentials": CREDENTIALS}}},
        {"companyProfile": [{"userCredentials": CREDENTIALS}]},
        {"billingProfile": {"defaultAddress": {"UserCredentials": [CREDENTIALS]}}},
        {"customDomains": [{"userCredentials": CREDENTIALS}]},
        {"customDomains": [[{"deep": {"userCredentials": CREDENTIALS}}]]},
        {"tags": {"userCredentials": CREDENTIALS}},
        {"commerceId": {"a": {"UserCredentials": CREDENTIALS}}},
        {"allowDelegatedAccess": {"userCredentials": CREDENTIALS}},
        {"attributes": {"etag": {"userCredentials": CREDENTIALS}}},
        {"links": {"self": {"userCredentials": CREDENTIALS}}},
        {"somethingNew": {"userCredentials": CREDENTIALS}},
    ],
)
def test_credentials_of_users_surface_nowhere(
    fields: dict[str, Any],
    start: Start,
    sync: Sync,
) -> None:
    """Creating a user returns a password in clear text; if a list ever does, it is removed."""
    emulator = start(Fault(place="customers", add_fields=fields), customers=3)
    result = sync(emulator, catalog=catalog_of("customers"))
    assert SECRET not in result.stdout + result.stderr
    assert "usercredentials" not in (result.stdout + result.stderr).lower()
    assert result.exit_code == 0
    assert len(result.records("customers")) == 3


def test_a_catalog_cannot_let_credentials_out(start: Start, sync: Sync) -> None:
    """Even fields that an operator's catalog declares without restrictions contain none."""
    catalog = catalog_of("customers")
    (stream,) = (s for s in catalog["streams"] if s["tap_stream_id"] == "customers")
    stream["schema"]["properties"] |= {
        "userCredentials": {"type": ["object", "null"]},
        "extra": {"type": ["object", "null"]},
        "list": {"type": ["array", "null"], "items": {"type": ["object", "null"]}},
    }
    inside = {"kept": 1, "userCredentials": CREDENTIALS}
    fields = {"userCredentials": CREDENTIALS, "extra": inside, "list": [inside]}
    emulator = start(Fault(place="customers", add_fields=fields), customers=2)
    result = sync(emulator, catalog=catalog)
    assert result.exit_code == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    assert [record["extra"] for record in result.records("customers")] == [{"kept": 1}] * 2
    assert [record["list"] for record in result.records("customers")] == [[{"kept": 1}]] * 2


def test_credentials_do_not_hide_in_an_object_of_any_members(start: Start, sync: Sync) -> None:
    """Orders have an object whose fields are not known in advance."""
    context = {"kept": {"deep": "1", "userCredentials": CREDENTIALS}}
    fields = {"lineItems": [{"provisioningContext": context}]}
    fault = Fault(place="orders", add_fields=fields)
    result = sync(start(fault, customers=2), catalog=catalog_of("orders"))
    assert result.exit_code == 0, result.stderr
    assert SECRET not in result.stdout + result.stderr
    lines = [line for record in result.records("orders") for line in record["lineItems"]]
    assert [line["provisioningContext"] for line in lines] == [{"kept": {"deep": "1"}}] * 2


def test_one_object_in_place_of_a_list_is_a_list_of_one(start: Start, sync: Sync) -> None:
    """Sources disagree about some fields, and a target refuses what does not match the schema."""
    fault = Fault(place="orders", add_fields={"lineItems": {"offerId": "one"}})
    result = sync(start(fault, customers=2), catalog=catalog_of("orders"))
    assert result.exit_code == 0, result.stderr
    assert result.records("orders")
    for record in result.records("orders"):
        (line,) = record["lineItems"]
        assert line["offerId"] == "one"


def test_a_reseller_who_is_listed_twice_is_read_once(start: Start, sync: Sync) -> None:
    """Reading a partition twice would emit each of its customers twice."""
    fault = Fault(place="resellers", duplicate_first_item=True)
    emulator = start(fault, customers=9, resellers=2)
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert result.exit_code == 0, result.stderr
    keys = result.keys("reseller_customers", "reseller_id", "id")
    assert sorted(keys) == sorted(set(held(emulator)["reseller_customers"]))


def test_audit_records_without_an_id_differ_by_all_that_they_hold(start: Start, sync: Sync) -> None:
    """Values that are not emitted count too: otherwise one of two changes in a second is lost."""
    same = {"operationDate": "2026-01-01T00:00:00Z", "operationType": "update_customer"}
    rows = [{**same, "resourceNewValue": value} for value in ("1", "2")]
    emulator = start(Fault(place="audit_records", json=page(*rows), times=1), customers=1)
    result = sync(emulator, catalog=catalog_of("audit_records"))
    assert result.exit_code == 0, result.stderr
    made = [key for (key,) in result.keys("audit_records", "id") if key.startswith("tap-")]
    assert len(set(made)) == len(made) >= 2


@pytest.mark.parametrize(
    "identifier", ["", "9b1de2aa", "not-a-guid", "a%", f"{uuid.UUID(int=1)}0", None]
)
def test_a_reseller_id_of_the_api_must_be_a_guid(
    identifier: object,
    start: Start,
    sync: Sync,
) -> None:
    """The filter matches prefixes: a short id would read other resellers' customers."""
    emulator = start(Fault(place="resellers", json=page({"id": identifier, "name": "Contoso"})))
    result = sync(emulator, catalog=catalog_of("reseller_customers"))
    assert_refused(result, "a reseller whose id is not a GUID", "reseller_customers")
    assert "reseller_ids" in result.error
    assert "Contoso" not in result.stderr
    assert "partition" not in emulator.stats().by_place


def test_duplicates_are_passed_on(start: Start, sync: Sync) -> None:
    """The same customer twice in a page: the target's key merges them, as the log says."""
    emulator = start(Fault(place="customers", times=1, duplicate_first_item=True), customers=5)
    result = sync(emulator)
    assert result.exit_code == 0
    truth = held(emulator)
    assert set(result.keys("customers", "id")) == set(truth["customers"])
    related = len(result.records("customer_relationships"))
    repeated = related - len(truth["customer_relationships"])
    assert repeated
    assert "customers: 6 records, 1 of them repeated" in result.log
    assert f"customer_relationships: {related} records, {repeated} of them repeated" in result.log
    assert "customer_refreshes: 6 records, 1 of them repeated" in result.log


def test_a_customer_that_moves_to_the_next_page_is_repeated(start: Start, sync: Sync) -> None:
    """If the service counts pages by position, they shift when customers are added."""
    emulator = start(customers=5)
    first = [customer["id"] for customer in emulator.customers()][1]
    shifted = {"id": first, "companyProfile": {"tenantId": first}}
    emulator.faults = [Fault(place="continuation", times=1, json=page(shifted))]
    result = sync(emulator, catalog=catalog_of("customers"), page_size=2)
    assert result.exit_code == 0, result.stderr
    assert "customers: 3 records, 1 of them repeated" in result.log


def test_a_relationship_without_a_type_gets_the_vendors_word_for_it(
    start: Start,
    sync: Sync,
) -> None:
    """The type is part of the key: null and missing become `none`."""
    emulator = start(Fault(place="relationships", add_fields={"relationshipType": None}))
    result = sync(emulator)
    assert result.exit_code == 0
    kinds = {record["relationshipType"] for record in result.records("customer_relationships")}
    assert kinds == {"none"}


def test_relationships_stay_with_their_customer(start: Start, sync: Sync) -> None:
    """Numeric ids become text; children that are read ahead are not mixed up."""
    ids: list[object] = ["a", "b", 5, "c", 6, 7, "d", "e", 8]
    emulator = start(
        *(
            Fault(place="relationships", customer_id=str(i), json=page({"id": f"partner of {i}"}))
            for i in ids
        ),
        fixture=Fixture(customers=[customer(identifier) for identifier in ids]),
    )
    result = sync(emulator, page_size=3, catalog=catalog_of("customers", "customer_relationships"))
    assert result.exit_code == 0, result.stderr
    assert result.keys("customer_relationships", "customer_id", "id") == [
        (str(identifier), f"partner of {identifier}") for identifier in ids
    ]


@pytest.mark.parametrize("place", ["customers", "relationships", "resellers"])
def test_an_empty_list_that_counts_records_is_told(place: Place, start: Start, sync: Sync) -> None:
    """The tap has nothing to emit, and does not claim that this is everything."""
    emulator = start(Fault(place=place, json={"totalCount": 5, "items": []}), customers=1)
    result = sync(emulator)
    assert result.exit_code == 0, result.stderr
    (warning,) = result.levels("WARNING")
    assert "without records whose totalCount says there are some" in warning
    assert f"{STREAMS[place]}.totalCount (1)" in warning


# State


def broken_off(emulator: Emulator, sync: Sync) -> dict[str, Any]:
    """The state of a run interrupted in the second stream with continuations."""
    emulator.faults = [Fault(place="partition_continuation", skip=1, status=501)]
    result = sync(emulator, page_size=2, emit_activate_version_messages=True)
    assert result.exit_code == 1
    emulator.faults = ()
    return result.state


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "http://127.0.0.1:1/v1/customers"},
        {"uri": "//127.0.0.1:1/v1/customers"},
        {"uri": None},
        {"headers": [["Authorization", "Bearer other"]]},
        {"headers": [["Host", "evil.example"]]},
        {"headers": [["MS-ContinuationToken", "a\r\nHost: evil.example"]]},
        {"headers": [["MS ContinuationToken", "a"]]},
        {"headers": [["MS-ContinuationToken", 5]]},
        {"headers": [["MS-ContinuationToken"]]},
        {"headers": "MS-ContinuationToken"},
        {"headers": None},
        {"version": "yesterday"},
        {"version": None},
        {"version": 0},
        {"version": 99999999999},
        {"version": float("inf")},
        {"version": float("nan")},
        {"skipped": None},
        {"skipped": "x"},
        {"skipped": float("inf")},
        {"partition": None},
        {"partition": str(uuid.UUID(int=1))},
        {"partition": 5},
        {"partition": ["a"]},
        {"scope": None},
        {"scope": "0" * 16},
    ],
)
def test_a_state_edited_by_hand_costs_no_more_than_a_new_start(
    change: dict[str, Any],
    start: Start,
    sync: Sync,
) -> None:
    """An unusable checkpoint is ignored: all rows are read, and no existing row is deleted."""
    emulator = start(customers=20, resellers=2)
    state = broken_off(emulator, sync)
    state["bookmarks"]["reseller_customers"]["resume"].update(change)
    result = sync(emulator, page_size=2, state=state, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    assert (
        result.keys("reseller_customers", "reseller_id", "id")
        == (held(emulator)["reseller_customers"])
    )


@pytest.mark.parametrize(
    ("age", "resumes"),
    [(0, True), (24 * 3600, True), (24 * 3600 + 1, False), (-1, False)],
)
def test_an_interrupted_pass_goes_on_for_a_day(age: int, *, resumes: bool, start: Start) -> None:
    """After that its first pages are too old; a pass dated in the future is not resumed either."""
    emulator = start(Fault(place="continuation", skip=1, times=1, status=501), customers=9)
    moment = 1_800_000_000

    class StoppedClock(QuickClock):
        def now(self) -> float:
            return moment

    settings: dict[str, Any] = {"config": {**emulator.tap_config(), "page_size": 3}}
    interrupted = run_tap(**settings, clock=StoppedClock)
    assert interrupted.exit_code == 1
    moment += age
    again = run_tap(**settings, clock=StoppedClock, state=interrupted.state)
    assert again.exit_code == 0, again.stderr
    customers = held(emulator)["customers"]
    assert again.keys("customers", "id") == customers[6 if resumes else 0 :]


def test_a_state_that_leads_to_another_collection_is_not_followed(
    start: Start,
    sync: Sync,
) -> None:
    """Its rows would be taken for the rest of the table."""
    emulator = start(customers=20, resellers=2)
    state = broken_off(emulator, sync)
    resume = state["bookmarks"]["reseller_customers"]["resume"]
    resume.update(uri="/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf")
    result = sync(emulator, page_size=2, state=state, emit_activate_version_messages=True)
    assert result.exit_code == 0, result.stderr
    found = result.keys("reseller_customers", "reseller_id", "id")
    assert found == held(emulator)["reseller_customers"]
    (warning,) = result.levels("WARNING")
    assert "reseller_customers: the state points to another collection (/v1/rela" in warning


@pytest.mark.parametrize("bookmark", [{"resume": 5}, {"resume": []}, {"resume": {}}, {"other": 1}])
def test_a_bookmark_of_another_kind_is_ignored(
    bookmark: object,
    start: Start,
    sync: Sync,
) -> None:
    """State of other taps or versions does not make the run fail."""
    emulator = start(customers=5)
    state = {"bookmarks": {"customers": bookmark}}
    result = sync(emulator, page_size=2, state=state)
    assert result.exit_code == 0, result.stderr
    assert result.keys("customers", "id") == held(emulator)["customers"]
