"""Invalid UTF-8, lone surrogates and NUL: only the character itself is lost, and never in a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import API, assert_refused
from tests.responses import RESELLER

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync

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
def test_an_invalid_character_costs_only_itself(
    case: str, mark: bytes, start: Start, sync: Sync
) -> None:
    """The page is not requested again, all else is intact, and the summary names the field."""
    sent, emitted = BROKEN[case]
    body = (
        b'{"items": [{"id": "a", "companyProfile": {"companyName": "%s", "domain": "\xc3\xbc"}},'
        b' {"id": "b", "tags": ["x", "%s"], "links": {"self": "%s"}, "userCredentials": "%s"}],'
        b' "attributes": {"objectType": "%s"}}'
    )
    emulator = start(Fault(place="customers", body=mark + body % ((sent,) * 5)))
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
def test_an_unusual_but_valid_character_is_unchanged(text: str, start: Start, sync: Sync) -> None:
    """A complete surrogate pair, and a replacement character from the service, are no errors."""
    emulator = start(Fault(place="customers", add_fields={"commerceId": text}))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert [record["commerceId"] for record in result.records("customers")] == [text] * 7
    assert result.levels("WARNING") == []


@pytest.mark.parametrize("sent", [rb"\ud83d", rb"\u0000", b"\xff"])
@pytest.mark.parametrize("place", ["customers", "relationships", "resellers"])
def test_a_key_with_an_invalid_character_ends_the_run(
    place: Place, sent: bytes, start: Start, sync: Sync
) -> None:
    """Two keys that differ only in the lost characters would become one row."""
    emulator = start(Fault(place=place, body=b'{"items": [{"id": "a%s"}]}' % sent))
    result = sync(emulator, reseller_ids=[RESELLER])
    assert_refused(result, "whose id, which is part of the key, has a broken", API[place])


def test_invalid_characters_are_counted_once_for_each_row(start: Start, sync: Sync) -> None:
    """Even if the list of resellers is read twice: for its rows, and for its ids."""
    body = b'{"items": [{"id": "%s", "name": "\xff"}]}' % RESELLER.encode()
    result = sync(start(Fault(place="resellers", body=body)))
    assert result.exit_code == 0
    (line,) = result.levels("WARNING")
    assert line.endswith("indirect_resellers.name (1)")


def test_an_invalid_character_in_an_error_does_not_hide_its_code(start: Start, sync: Sync) -> None:
    """The description of an error may contain one too."""
    body = b'{"code": 900329, "description": "\xff"}'
    emulator = start(Fault(place="customers", status=403, body=body))
    assert_refused(sync(emulator), "HTTP 403, code 900329")
