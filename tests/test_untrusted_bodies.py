"""Bodies that no server should send: too large, too deep, cut off, or no page at all."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import API, assert_refused, sampled
from tests.responses import customer, page
from tests.truth import assert_complete

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

BOUNDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
from tap_partnercenter.tap import TapPartnerCenter
TapPartnerCenter.cli()
"""


@pytest.mark.parametrize("place", ["token", "customers", "relationships"])
@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_huge_body_is_truncated(
    packed: bool,  # noqa: FBT001
    place: Place,
    start: Start,
    sync: Sync,
) -> None:
    """A body is read up to a limit and no further, which a decompression bomb has as well."""
    size = 100_000_000
    fault = Fault(place=place, huge_body=size)
    if packed:
        bomb = gzip.compress(b" " * size, compresslevel=1)
        fault = Fault(place=place, body=bomb, headers=PACKED)
    result = sync(start(fault), max_retry_seconds=0)
    assert result.exit_code == 1
    assert "a body of more than 64 MiB" in result.error
    assert "Traceback" not in result.stderr


PACKED = {"Content-Encoding": "gzip"}
#: The name is case-insensitive, and has another form (RFC 9110, section 8.4.1.3).
ENCODINGS: dict[Place, str] = {"token": "gzip", "customers": "x-gzip", "relationships": "GZIP"}


@pytest.mark.parametrize("place", ENCODINGS)
@pytest.mark.parametrize("length", [12, -1], ids=["begun", "almost whole"])
@pytest.mark.parametrize("content", [b"", b'{"totalCount": 0, "items": []}'])
def test_a_truncated_compressed_body_is_requested_again(
    content: bytes, length: int, place: Place, broken: Broken, sync: Sync
) -> None:
    """It could be taken for the empty response for a customer without relationships."""
    cut = gzip.compress(b"\xef\xbb\xbf" + content)[:length]
    headers = {"Content-Encoding": ENCODINGS[place]}
    emulator = broken(Fault(place=place, times=1, body=cut, headers=headers))
    result = sync(emulator)
    assert_complete(result, emulator)
    assert emulator.stats().by_place[place]["200"] > 1


@pytest.mark.parametrize("place", ENCODINGS)
def test_a_compressed_body_whose_connection_breaks_is_requested_again(
    place: Place, start: Start, sync: Sync
) -> None:
    """As with one that is not compressed."""
    emulator = start(Fault(place=place, times=1, truncate=True), gzip=True)
    result = sync(emulator)
    assert_complete(result, emulator)
    assert "1 retry, " in result.log[-1]


@pytest.mark.parametrize(
    "fault",
    [
        {"empty_body": True, "unframed": True},
        {"body": zlib.compress(b"{}")[:2], "headers": {"Content-Encoding": "deflate"}},
    ],
    ids=["without a length", "in another encoding"],
)
def test_an_empty_body_that_may_be_a_lost_one_is_requested_again(
    fault: dict[str, Any], broken: Broken, sync: Sync
) -> None:
    """The connection was lost after the headers: the customer's relationships may still exist."""
    emulator = broken(Fault(place="relationships", times=1, **fault))
    result = sync(emulator)
    assert_complete(result, emulator)
    assert any("HTTP 200 with a body that may have been lost" in line for line in result.log)


def test_a_null_without_a_length_is_a_response(broken: Broken, sync: Sync) -> None:
    """A proxy may speak HTTP/1.0; what arrived says that there is nothing."""
    result = sync(broken(Fault(place="relationships", body=b"null", unframed=True)))
    assert result.exit_code == 0, result.stderr
    assert result.records("customer_relationships") == []


def test_a_body_compressed_in_two_pieces_is_complete(broken: Broken, sync: Sync) -> None:
    """A server that compresses while it writes may send that (RFC 1952)."""
    pieces = b"".join(gzip.compress(piece) for piece in (b'{"totalCount": 0, ', b'"items": []}'))
    emulator = broken(Fault(place="customers", body=pieces, headers=PACKED))
    result = sync(emulator)
    assert result.exit_code == 0
    assert result.records("customers") == []


def test_a_body_with_a_wrong_content_encoding_is_reported(start: Start, sync: Sync) -> None:
    """The line says so, and quotes nothing from the body."""
    emulator = start(Fault(place="customers", body=b"plain", headers=PACKED))
    result = sync(emulator)
    assert "HTTP 200 with a body that cannot be decompressed" in result.error
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("bom", ["none", "all"])
@pytest.mark.parametrize("compressing", [False, True])
def test_responses_are_the_same_compressed_or_not(
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
def test_deeply_nested_json_does_not_crash(place: Place, start: Start, sync: Sync) -> None:
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
            b'{"totalCount": 1, "value": [{"id": "a"}]}',
            b'{"totalCount": 1, "Items": [{"id": "a"}], "attributes": {}}',
            b'{"id": "a", "links": {}, "attributes": {"objectType": "Customer"}}',
            b'{"code": 20002, "description": "with status 200"}',
            b'{"code": 400072, "description": "typed", "attributes": {"objectType": "Fault"}}',
            b'{"code": "900192", "description": "and a list", "items": []}',
            b'{"message": "and a list", "items": []}',
        ],
        ["customers", "relationships"],
    ),
)
def test_a_body_that_is_not_a_collection_is_requested_again_and_refused(
    body: bytes, place: Place, start: Start, sync: Sync
) -> None:
    """Nothing from it is emitted, and the data does not end silently."""
    emulator = start(Fault(place=place, body=body))
    result = sync(emulator, max_concurrent_requests=1, max_retry_seconds=60)
    stream = API[place]
    assert_refused(result, "HTTP 200 with", stream)
    assert emulator.stats().by_place[place]["200"] > 1
    assert result.records(stream) == []


@pytest.mark.parametrize("status", [202, 203, 206])
def test_only_a_200_holds_a_page(status: int, start: Start, sync: Sync) -> None:
    """A partial page, or an answer still to come, is not taken for a whole one."""
    emulator = start(Fault(place="customers", status=status, json=page(customer("a"))))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert_refused(result, f"HTTP {status}")
    assert result.records("customers") == []


#: A number on the wire, and the text that is emitted for it; none where the page is unreadable.
NUMBERS = {
    "beyond a float": (b"1e400", "1E+400"),
    "negative zero": (b"-0.0", "-0.0"),
    "30 digits": (b"9" * 30, "9" * 30),
    "5000 digits": (b"9" * 5000, None),
    "5000 decimals": (b"0." + b"1" * 5000, "0." + "1" * 5000),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_number_of_any_size_is_kept_or_refused(case: str, start: Start, sync: Sync) -> None:
    """Only a whole number longer than Python reads (4300 digits) costs the page."""
    number, emitted = NUMBERS[case]
    body = b'{"items": [{"id": "a", "relationshipToPartner": %s}], "totalCount": %s}'
    emulator = start(Fault(place="customers", body=body % (number, number)))
    result = sync(emulator, catalog=catalog_of("customers"), max_retry_seconds=0)
    found = [record["relationshipToPartner"] for record in result.records("customers")]
    assert found == ([] if emitted is None else [emitted])
    if emitted is None:
        assert_refused(result, "HTTP 200 with a body that is not JSON")
    else:
        assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize("fault", ["items_not_list", "item_not_object"])
@pytest.mark.parametrize("place", ["customers", "continuation", "partition", "resellers"])
def test_items_of_another_kind_are_refused(
    fault: str, place: Place, start: Start, sync: Sync
) -> None:
    """If `items` is not a list of objects, the page is retried, and then the run gives up."""
    action: dict[str, Any] = {fault: True}
    emulator = start(Fault(place=place, **action))
    result = sync(emulator, page_size=3, max_retry_seconds=0)
    assert result.exit_code == 1
    assert "JSON that is not a collection of records" in result.error
