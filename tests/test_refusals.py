"""Errors that a retry does not fix, and that end the data, a stream, or a customer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of
from tests.failures import API, COLLECTIONS, assert_reported, assert_resumable, at, sampled
from tests.truth import held

if TYPE_CHECKING:
    from partnercenter_emulator.faults import Place
    from tests.conftest import Broken, Start, Sync

REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "app-only": (
        {"status": 403, "code": 900329},
        "HTTP 403, code 900329: this endpoint does not accept app-only credentials",
        "Set refresh_token (App+User credentials), consent again if it is set, or deselect",
    ),
    "program": ({"status": 403, "code": 900149}, "program", "Renew the enrolment"),
    "role": ({"status": 403, "code": "900150"}, "code 900150: the user's role", "Admin agent"),
    "privileges": ({"status": 403, "code": 900308}, "role does not allow", "Admin agent"),
    "denied": ({"status": 403, "code": 2032}, "role does not allow", "Admin agent"),
    "policy": ({"status": 403, "code": 900309}, "conditional access", "policies"),
    "behind": ({"status": 403, "code": 90000}, "conditional access", "policies"),
    "not implemented": ({"status": 501}, "HTTP 501, code 0: ", "Deselect the stream"),
    "method": ({"status": 405, "shape": "C"}, "HTTP 405: the service refused", "support"),
    "conflict": ({"status": 409, "shape": "B"}, "HTTP 409: the service refused", "support"),
    "bad input": ({"status": 400, "code": 2000}, "rejected the request as malformed", ""),
    "bad request": ({"status": 400, "shape": "C"}, "HTTP 400: the service refused", "support"),
}


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_continuation_that_is_not_found_is_not_the_end(
    status: int, broken: Broken, sync: Sync
) -> None:
    """A second page that answers 404 is a fault of the service, not the end of the data."""
    emulator = broken(Fault(place="continuation", status=status, shape="B"))
    result = sync(emulator, page_size=3)
    assert_reported(result, emulator, "customers", status=status)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize(
    ("refusal", "place"),
    # For relationships, errors that end a run must not be mistaken for skips.
    sampled(
        [name for name in REFUSALS if not name.startswith("bad")],
        COLLECTIONS,
        always=["relationships"],
    )
    + sampled(["bad request"], COLLECTIONS)
    # After a link the same answer may mean that a token has expired.
    + sampled(["bad input"], ["customers", "resellers"], each=2),
)
def test_a_refusal_ends_the_run_with_one_line(
    refusal: str, place: Place, broken: Broken, sync: Sync
) -> None:
    """Stream, status, code, meaning, remedy and ids; no retry, and no emitted record is lost."""
    answer, meaning, remedy = REFUSALS[refusal]
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_reported(result, emulator, API[place], status=answer["status"])
    assert meaning in result.error
    assert remedy in result.error
    assert result.error.endswith("Not retried.")
    assert "?" not in result.error
    assert [request.status for request in at(emulator, place)] == [answer["status"]]
    assert result.log[-2].startswith("failed: ")
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", [place for place in API if "continuation" not in place])
def test_bad_input_suggests_only_settings_that_the_request_uses(
    place: Place, broken: Broken, sync: Sync
) -> None:
    """Requests for relationships have neither a size nor a filter."""
    result = sync(broken(Fault(place=place, status=400, code=2000)), page_size=3)
    sized = place not in {"resellers", "relationships"}
    assert ("page_size" in result.error) == sized
    assert ("reseller_ids" in result.error) == sized
    assert ("support" in result.error) != sized


@pytest.mark.parametrize(
    ("place", "who", "deselected"),
    [
        ("relationships", "providers and indirect resellers", {"customer_relationships"}),
        ("resellers", "providers", {"indirect_resellers", "reseller_customers"}),
        ("partition", "providers", {"indirect_resellers", "reseller_customers"}),
    ],
)
def test_another_kind_of_partner_learns_which_streams_to_deselect(
    place: Place, who: str, deselected: set[str], broken: Broken, sync: Sync
) -> None:
    """Code 1002; following the advice works."""
    emulator = broken(Fault(place=place, status=403, code=1002))
    result = sync(emulator)
    assert_reported(result, emulator, API[place], status=403)
    assert f"Only indirect {who} have " in result.error
    (names,) = re.findall(r": deselect ([\w ]+)\. ", result.error)
    assert set(names.split(" and ")) == deselected
    rest = {"customers", *NEEDS_USER} - deselected
    assert sync(emulator, catalog=catalog_of(*rest)).exit_code == 0


@pytest.mark.parametrize("place", ["orders", "subscriptions", "invoices", "customers"])
def test_streams_that_every_partner_has_do_not_depend_on_enrolment(
    place: Any, broken: Broken, sync: Sync
) -> None:
    """For these streams, code 1002 is about rights, not relationships."""
    emulator = broken(Fault(place=place, status=403, code=1002))
    result = sync(emulator, catalog=catalog_of(place))
    assert "Admin agent" in result.error
    assert "indirect" not in result.error


# App-only

NEEDS_USER = ("customer_relationships", "indirect_resellers", "reseller_customers")


@pytest.mark.parametrize(
    ("selected", "reported"),
    [
        (("customers", *NEEDS_USER), NEEDS_USER),
        (("customers", "indirect_resellers"), ("indirect_resellers",)),
        (("customers",), ()),
    ],
)
def test_streams_that_need_a_user_are_named_before_the_first_request(
    selected: tuple[str, ...], reported: tuple[str, ...], start: Start, sync: Sync
) -> None:
    """One warning, and none with App+User credentials."""
    catalog = catalog_of(*selected)
    emulator = start(Fault(place="token", status=400, code=7000215))
    result = sync(emulator, app_only=True, catalog=catalog)
    names = ", ".join(reported)
    warning = (
        f"Without refresh_token (App+User credentials) the service refuses {names}. Set it, or "
        "deselect these streams."
    )
    assert result.levels("WARNING") == ([warning] if reported else [])
    assert sync(emulator, catalog=catalog).levels("WARNING") == []


@pytest.mark.parametrize(
    ("code", "place"),
    sampled(
        ["900329", "900150", "2032", "1002", "20002", "1234567"],
        ["resellers", "partition"],
        always=["relationships"],
    ),
)
def test_without_a_user_every_403_asks_for_one(
    place: Place, code: str, start: Start, sync: Sync
) -> None:
    """The code for this has changed over time."""
    emulator = start(app_only_code=int(code), customers=3, resellers=1)
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    stream = API[place]
    result = sync(emulator, app_only=True, catalog=catalog_of(stream), reseller_ids=resellers)
    assert_reported(result, emulator, stream, status=403)
    assert f"code {code}: " in result.error
    assert "Set refresh_token (App+User credentials), or deselect the stream." in result.error


@pytest.mark.parametrize("bom", ["success", "error", "all"])
def test_a_byte_order_mark_is_not_an_error(bom: str, start: Start, sync: Sync) -> None:
    """In pages, in errors, and in responses that ask to retry later."""
    emulator = start(
        Fault(place="customers", times=1, status=429, headers={"Retry-After": "2"}),
        Fault(place="resellers", times=1, status=500),
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        bom=bom,
        customers=5,
    )
    result = sync(emulator, page_size=3)
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]
    assert [line for line in result.levels("WARNING") if "code 20002" in line]


# Redirects


@pytest.mark.parametrize(("status", "place"), sampled(["301", "302", "307", "308"], API, each=3))
def test_a_redirect_is_not_followed(
    status: str, place: Place, broken: Broken, start: Start, sync: Sync
) -> None:
    """Neither to another origin nor within our own; the line says so."""
    other = start()
    for address in (f"{other.url}/v1/customers", "/v1/customers?size=3"):
        emulator = broken(Fault(place=place, redirect=address, status=int(status)))
        result = sync(emulator, page_size=3)
        assert_reported(result, emulator, API[place], status=int(status))
        assert "redirects to another address, which the tap does not follow" in result.error
        assert address not in result.stderr
    assert other.stats().requests == 0


def test_a_redirect_of_the_token_endpoint_is_not_followed(
    broken: Broken, start: Start, sync: Sync
) -> None:
    """Credentials go only to auth_url."""
    other = start()
    emulator = broken(Fault(place="token", redirect=f"{other.url}/steal", status=307))
    result = sync(emulator)
    assert result.exit_code == 1
    assert "sign-in: the token endpoint returned HTTP 307" in result.error
    assert other.stats().requests == 0


# The summary


def test_a_failed_run_says_so_and_how_far_it_got(broken: Broken, sync: Sync) -> None:
    """The last two lines are the totals and the reason."""
    emulator = broken(Fault(place="continuation", status=403, code=900150))
    result = sync(emulator, page_size=3)
    assert len(result.records("customers")) == 3
    assert result.log[-2].startswith(f"failed: {result.counts['RECORD']} records, ")
    assert result.log[-1] == result.error


def test_deselecting_the_refused_stream_is_a_remedy(broken: Broken, sync: Sync) -> None:
    """Following the line's advice works."""
    emulator = broken(Fault(place="relationships", status=403, code=900150))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]
