"""Errors that a retry does not fix, and that end the data, a stream, or a customer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fault
from tests.command_line import catalog_of
from tests.failures import API, COLLECTIONS, assert_resumable, assert_told, at, sampled
from tests.truth import assert_complete, held

if TYPE_CHECKING:
    from collections.abc import Callable

    from partnercenter_emulator.faults import Place
    from tests.conftest import Start, Sync

REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "app-only": (
        {"status": 403, "code": 900329},
        "HTTP 403, code 900329: this endpoint does not accept app-only credentials",
        "Set refresh_token (App+User credentials)",
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
    "bad request": ({"status": 400, "shape": "C"}, "HTTP 400: the service refused", "support"),
}

BAD_INPUT: tuple[dict[str, Any], str, str] = (
    {"status": 400, "code": 2000},
    "code 2000: the service rejected the request as malformed",
    "",
)

INDIVIDUAL: dict[str, tuple[dict[str, Any], str]] = {
    "20002": (
        {"status": 403, "code": 20002},
        "HTTP 403, code 20002: the partner no longer has a commerce",
    ),
    "20002 as text": ({"status": 403, "code": "20002"}, "HTTP 403, code 20002: the partner"),
    "1002": ({"status": 403, "code": 1002}, "HTTP 403, code 1002: authorization failed"),
    "1000": ({"status": 404, "code": 1000}, "HTTP 404, code 1000: the service does not return"),
    "60003": ({"status": 404, "code": 60003}, "HTTP 404, code 60003: the service does not return"),
    "3000": ({"status": 400, "code": 3000}, "HTTP 400, code 3000: the service finds no relation"),
    "gateway": ({"status": 404, "shape": "B"}, "HTTP 404: the service does not return"),
    "no body": ({"status": 403, "shape": "D"}, "HTTP 403: the service does not return"),
    "html": ({"status": 404, "shape": "html"}, "HTTP 404: the service does not return"),
}


# End of the data


def test_a_bare_token_may_lead_behind_the_last_page(start: Start, sync: Sync) -> None:
    """400 with code 2000 ends the data if a token led there after a short page."""
    emulator = start(customers=7, link_form="token_only", ending="code_2000")
    assert_complete(sync(emulator, page_size=3), emulator)
    assert emulator.stats().by_place["continuation"]["400"] == 1


@pytest.mark.parametrize("place", ["customers", "partition", "resellers"])
def test_the_same_answer_to_a_first_page_is_an_error(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Treating bad input as the end of the data would lose customers silently."""
    emulator = broken(Fault(place=place, status=400, code=2000))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=400)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", ["continuation", "partition_continuation"])
def test_the_same_answer_behind_a_link_is_an_error(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A link is the service's own request, so the service has no reason to call it malformed."""
    emulator = broken(Fault(place=place, status=400, code="2000"))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=400)
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("link_form", ["relative", "token_only"])
def test_a_checkpoint_that_has_expired_means_from_the_start(
    link_form: str,
    start: Start,
    sync: Sync,
) -> None:
    """400 for a stored continuation: the stream is read from the start, and the log says so."""
    emulator = start(
        Fault(place="continuation", skip=1, status=503),
        customers=8,
        link_form=link_form,
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="continuation", times=1, status=400, code=2000)]
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert_complete(result, emulator)
    resumed = "customers: resumed where an earlier run was interrupted. "
    assert any(line.startswith(resumed) for line in result.log)
    (line,) = [line for line in result.log if "the stream is read from the start" in line]
    assert line.startswith("customers: HTTP 400, code 2000: the stored continuation has expired; ")


def test_an_expired_checkpoint_of_a_partition_means_from_the_first_one(
    start: Start,
    sync: Sync,
) -> None:
    """Earlier partitions belong to the same pass, so they are read again too."""
    emulator = start(customers=40, resellers=3)
    last = list(emulator.resellers())[2]["id"]
    emulator.faults = [Fault(place="partition_continuation", reseller_id=last, status=503)]
    broken_off = sync(emulator, page_size=2)
    assert broken_off.exit_code == 1
    emulator.faults = [Fault(place="partition_continuation", times=1, status=400, code=2000)]
    result = sync(emulator, page_size=2, state=broken_off.state)
    assert result.exit_code == 0
    assert (
        result.keys("reseller_customers", "reseller_id", "id")
        == (held(emulator)["reseller_customers"])
    )


def test_a_pass_is_resumed_at_the_beginning_of_a_partition(start: Start, sync: Sync) -> None:
    """Between two partitions the checkpoint names the next; earlier ones are not read again."""
    emulator = start(customers=40, resellers=3)
    second = list(emulator.resellers())[1]["id"]
    emulator.faults = [Fault(place="partition", reseller_id=second, status=503)]
    broken_off = sync(emulator, page_size=500, max_retry_seconds=0)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=500, state=broken_off.state)
    assert result.exit_code == 0
    first = {key[0] for key in broken_off.keys("reseller_customers", "reseller_id")}
    assert len(first) == 1
    assert result.keys("reseller_customers", "reseller_id", "id") == [
        key for key in held(emulator)["reseller_customers"] if key[0] not in first
    ]


def test_partitions_behind_the_checkpoint_are_read_from_their_first_page(
    start: Start,
    sync: Sync,
) -> None:
    """The stored continuation belongs to one reseller and is not used for another."""
    emulator = start(customers=40, resellers=3)
    first = next(emulator.resellers())["id"]
    emulator.faults = [Fault(place="partition_continuation", reseller_id=first, status=501)]
    catalog = catalog_of("reseller_customers")
    interrupted = sync(emulator, page_size=2, catalog=catalog)
    assert interrupted.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=2, catalog=catalog, state=interrupted.state)
    assert result.exit_code == 0, result.stderr
    runs = [interrupted, result]
    keys = [key for run in runs for key in run.keys("reseller_customers", "reseller_id", "id")]
    assert keys == held(emulator)["reseller_customers"]


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_continuation_that_is_not_found_is_no_end(
    status: int,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A second page that answers 404 is a fault of the service, not the end of the data."""
    emulator = broken(Fault(place="continuation", status=status, shape="B"))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, "customers", status=status)
    assert_resumable(result, emulator, sync)


# Fail


@pytest.mark.parametrize(
    ("refusal", "place"),
    # For relationships, errors that end a run must not be mistaken for skips.
    sampled(
        [name for name in REFUSALS if name != "bad input"], COLLECTIONS, always=["relationships"]
    )
    # After a link the same answer may mean that a token has expired.
    + sampled(["bad input"], ["customers", "resellers", "relationships"], each=3),
)
def test_a_refusal_ends_the_run_with_one_line(
    refusal: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Stream, status, code, meaning, remedy and ids; no retry, and no emitted record is lost."""
    answer, meaning, remedy = REFUSALS.get(refusal, BAD_INPUT)
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3, max_concurrent_requests=1)
    assert_told(result, emulator, API[place], status=answer["status"])
    assert meaning in result.error
    assert remedy in result.error
    assert result.error.endswith("Not retried.")
    assert "?" not in result.error
    assert [request.status for request in at(emulator, place)] == [answer["status"]]
    assert result.log[-2].startswith("failed: ")
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("place", [place for place in API if "continuation" not in place])
def test_bad_input_advises_only_settings_that_the_request_holds(
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
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
def test_a_partner_of_another_kind_is_told_which_streams_to_deselect(
    place: Place,
    who: str,
    deselected: set[str],
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Code 1002; following the advice works."""
    emulator = broken(Fault(place=place, status=403, code=1002))
    result = sync(emulator)
    assert_told(result, emulator, API[place], status=403)
    assert f"Only indirect {who} have " in result.error
    (names,) = re.findall(r": deselect ([\w ]+)\. ", result.error)
    assert set(names.split(" and ")) == deselected
    rest = {"customers", *NEEDS_USER} - deselected
    assert sync(emulator, catalog=catalog_of(*rest)).exit_code == 0


@pytest.mark.parametrize("place", ["orders", "subscriptions", "invoices", "customers"])
def test_streams_that_every_partner_has_are_no_matter_of_enrolment(
    place: Any,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """For these streams, code 1002 is about rights, not relationships."""
    emulator = broken(Fault(place=place, status=403, code=1002))
    result = sync(emulator, catalog=catalog_of(place))
    assert "Admin agent" in result.error
    assert "indirect" not in result.error


# App-only

NEEDS_USER = ("customer_relationships", "indirect_resellers", "reseller_customers")


@pytest.mark.parametrize(
    ("selected", "told"),
    [
        (("customers", *NEEDS_USER), NEEDS_USER),
        (("customers", "indirect_resellers"), ("indirect_resellers",)),
        (("customers",), ()),
    ],
)
def test_streams_that_need_a_user_are_named_before_the_first_request(
    selected: tuple[str, ...],
    told: tuple[str, ...],
    start: Start,
    sync: Sync,
) -> None:
    """One warning, and none with App+User credentials."""
    catalog = catalog_of(*selected)
    emulator = start(Fault(place="token", status=400, code=7000215))
    result = sync(emulator, app_only=True, catalog=catalog)
    names = ", ".join(told)
    warning = (
        f"Without refresh_token (App+User credentials) the service refuses {names}. Set it, or "
        "deselect these streams."
    )
    assert result.levels("WARNING") == ([warning] if told else [])
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
    place: Place,
    code: str,
    start: Start,
    sync: Sync,
) -> None:
    """The code for this has changed over time."""
    emulator = start(app_only_code=int(code), customers=3, resellers=1)
    resellers = [str(reseller["id"]) for reseller in emulator.resellers()]
    stream = API[place]
    result = sync(emulator, app_only=True, catalog=catalog_of(stream), reseller_ids=resellers)
    assert_told(result, emulator, stream, status=403)
    assert f"code {code}: " in result.error
    assert "Set refresh_token (App+User credentials), or deselect the stream." in result.error


def test_a_skip_without_a_user_asks_for_one_too(start: Start, sync: Sync) -> None:
    """If other customers were answered, the summary says so; other statuses add no such advice."""
    document = {"items": [], "totalCount": 0}
    emulator = start(
        Fault(place="relationships", times=1, status=403, code=20002),
        Fault(place="relationships", times=1, status=404, code=1000),
        Fault(place="relationships", json=document),
        customers=5,
        app_only_code=0,
    )
    result = sync(emulator, app_only=True, catalog=catalog_of("customer_relationships"))
    assert result.exit_code == 0
    (_, line) = result.levels("WARNING")
    assert line.count("; set refresh_token)") == 1
    assert "code 20002" in line


@pytest.mark.parametrize(("refusal", "place"), sampled(INDIVIDUAL, COLLECTIONS, each=2))
def test_what_skips_a_customer_is_fatal_for_a_collection(
    refusal: str,
    place: Place,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """For a list, the codes about a single customer mean no more than their status."""
    answer, _ = INDIVIDUAL[refusal]
    emulator = broken(Fault(place=place, **answer))
    result = sync(emulator, page_size=3)
    assert_told(result, emulator, API[place], status=answer["status"])
    assert_resumable(result, emulator, sync)


@pytest.mark.parametrize("bom", ["success", "error", "all"])
def test_a_byte_order_mark_is_no_fault(bom: str, start: Start, sync: Sync) -> None:
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


# Skip


@pytest.mark.parametrize("refusal", INDIVIDUAL)
def test_a_lost_customer_is_skipped_and_named(
    refusal: str,
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """A refused customer is requested once, left out, counted, and named in the summary."""
    emulator = broken()
    lost = held(emulator)["customers"][4][0]
    answer, reason = INDIVIDUAL[refusal]
    emulator.faults = [Fault(place="relationships", customer_id=lost, **answer)]
    result = sync(emulator, page_size=3)
    assert result.exit_code == 0
    expected = [key for key in held(emulator)["customer_relationships"] if key[0] != lost]
    keys = result.keys("customer_relationships", "customer_id", "id", "relationshipType")
    assert keys == expected
    assert result.keys("customers", "id") == held(emulator)["customers"]
    (line,) = result.levels("WARNING")
    assert line.startswith(
        f"customer_relationships: 1 customer skipped; their records are missing: {lost} ({reason}",
    )
    assert " 1 customer skipped, " in result.log[-2]
    assert len([r for r in at(emulator, "relationships") if lost in r.path]) == 1


def test_a_pass_with_a_skip_deletes_nothing_in_its_stream(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The relationships get no ACTIVATE_VERSION, each of the other streams gets one."""
    emulator = broken(Fault(place="relationships", skip=3, times=1, status=403, code=20002))
    result = sync(emulator, page_size=3, emit_activate_version_messages=True)
    assert result.exit_code == 0
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["customers", "indirect_resellers", "reseller_customers"]


def test_a_skip_is_remembered_when_the_pass_is_resumed(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The gap belongs to the pass, not to the run: the run that completes it activates nothing."""
    emulator = broken(
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        Fault(place="continuation", skip=1, status=503),
    )
    deletes: dict[str, Any] = {"emit_activate_version_messages": True, "page_size": 3}
    broken_off = sync(emulator, **deletes)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, state=broken_off.state, **deletes)
    assert result.exit_code == 0
    activated = [m["stream"] for m in result.messages if m["type"] == "ACTIVATE_VERSION"]
    assert activated == ["indirect_resellers", "reseller_customers"]


def test_the_first_ten_refused_are_a_system(start: Start, sync: Sync) -> None:
    """If every customer is refused, the partner lacks the right to ask: that is not a skip."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=30)
    result = sync(emulator, page_size=20, max_concurrent_requests=1)
    assert_told(result, emulator, "customer_relationships", status=403)
    assert "the service refused each of the first 10 customers" in result.error
    assert "Only indirect providers and indirect resellers" in result.error
    assert emulator.stats().by_place["relationships"] == {"403": 10}


def test_ten_refused_after_an_answer_are_no_system(start: Start, sync: Sync) -> None:
    """Once the service has answered for one customer, refusals are individual."""
    emulator = start(Fault(place="relationships", skip=1, status=403, code=20002), customers=130)
    result = sync(emulator, max_skipped_customers=200, max_concurrent_requests=1)
    assert result.exit_code == 0
    (line,) = result.levels("WARNING")
    assert line.startswith("customer_relationships: 129 customers skipped")
    assert line.count("20002") == 100
    assert line.endswith(", …")


def test_all_of_a_few_refused_are_a_system_too(start: Start, sync: Sync) -> None:
    """With three of three customers refused, the run must not end as if it were complete."""
    emulator = start(Fault(place="relationships", status=403, code=1002), customers=3)
    result = sync(emulator)
    assert result.exit_code == 1
    assert "the service refused every customer" in result.error
    assert "deselect customer_relationships" in result.error


@pytest.mark.parametrize("resume", [False, True])
def test_refusals_of_an_earlier_run_are_no_system(
    resume: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """After a resume, one more refusal does not complete the first ten."""
    emulator = start(
        Fault(place="relationships", skip=1, times=11, status=403, code=20002),
        *([Fault(place="continuation", skip=3, status=503)] if resume else []),
        customers=20,
    )
    result = sync(emulator, page_size=4, max_concurrent_requests=1)
    if resume:
        assert result.exit_code == 1
        emulator.faults = [Fault(place="relationships", times=1, status=403, code=20002)]
        result = sync(emulator, page_size=4, max_concurrent_requests=1, state=result.state)
    assert result.exit_code == 0, result.error


def test_a_resumed_pass_without_further_customers_is_no_system(start: Start, sync: Sync) -> None:
    """Skips of the earlier run alone do not mean that every customer was refused."""
    emulator = start(
        Fault(place="relationships", skip=1, times=2, status=403, code=20002),
        Fault(place="continuation", skip=1, status=503),
        customers=6,
        ending="empty",
    )
    broken_off = sync(emulator, page_size=3)
    assert broken_off.exit_code == 1
    emulator.faults = ()
    result = sync(emulator, page_size=3, state=broken_off.state)
    assert result.exit_code == 0, result.error


@pytest.mark.parametrize(("most", "exit_code"), [(1, 1), (2, 0)])
def test_the_line_counts_the_skips_of_the_whole_pass(
    most: int,
    exit_code: int,
    start: Start,
    sync: Sync,
) -> None:
    """An interruption does not double the number of customers that a table may lack."""
    emulator = start(
        Fault(place="relationships", skip=1, times=1, status=403, code=20002),
        Fault(place="continuation", skip=1, status=501),
        customers=9,
    )
    interrupted = sync(emulator, page_size=3, max_skipped_customers=most)
    assert interrupted.exit_code == 1
    emulator.faults = [Fault(place="relationships", skip=1, times=1, status=403, code=20002)]
    result = sync(emulator, page_size=3, max_skipped_customers=most, state=interrupted.state)
    assert result.exit_code == exit_code, result.stderr
    assert ("max_skipped_customers allows 1" in result.stderr) == (exit_code == 1)


@pytest.mark.parametrize(("most", "refused", "exit_code"), [(0, 1, 1), (2, 2, 0), (2, 3, 1)])
def test_the_operator_draws_the_line(
    most: int,
    refused: int,
    exit_code: int,
    start: Start,
    sync: Sync,
) -> None:
    """max_skipped_customers is the highest number that is still accepted."""
    emulator = start(
        Fault(place="relationships", skip=1, times=refused, status=403, code=20002),
        customers=8,
    )
    result = sync(emulator, max_skipped_customers=most)
    assert result.exit_code == exit_code
    if exit_code:
        number = "1 customer" if refused == 1 else f"{refused} customers"
        assert f"{number} refused, max_skipped_customers allows {most}" in result.error
        assert "code 20002" in result.error


# Redirects


@pytest.mark.parametrize(("status", "place"), sampled(["301", "302", "307", "308"], API, each=3))
def test_a_redirect_is_not_followed(
    status: str,
    place: Place,
    broken: Callable[..., Emulator],
    start: Start,
    sync: Sync,
) -> None:
    """Neither to another origin nor within our own; the line says so."""
    other = start()
    for address in (f"{other.url}/v1/customers", "/v1/customers?size=3"):
        emulator = broken(Fault(place=place, redirect=address, status=int(status)))
        result = sync(emulator, page_size=3)
        assert_told(result, emulator, API[place], status=int(status))
        assert "redirects to another address, which the tap does not follow" in result.error
        assert address not in result.stderr
    assert other.stats().requests == 0


def test_a_redirect_of_the_token_endpoint_is_not_followed(
    broken: Callable[..., Emulator],
    start: Start,
    sync: Sync,
) -> None:
    """Credentials go only to auth_url."""
    other = start()
    emulator = broken(Fault(place="token", redirect=f"{other.url}/steal", status=307))
    result = sync(emulator)
    assert result.exit_code == 1
    assert "sign-in: the token endpoint returned HTTP 307" in result.error
    assert other.stats().requests == 0


# The summary


def test_a_failed_run_says_so_and_how_far_it_came(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """The last two lines are the totals and the reason."""
    emulator = broken(Fault(place="continuation", status=403, code=900150))
    result = sync(emulator, page_size=3)
    assert len(result.records("customers")) == 3
    assert result.log[-2].startswith(f"failed: {result.counts['RECORD']} records, ")
    assert result.log[-1] == result.error


def test_deselecting_the_refused_stream_is_a_remedy(
    broken: Callable[..., Emulator],
    sync: Sync,
) -> None:
    """Following the line's advice works."""
    emulator = broken(Fault(place="relationships", status=403, code=900150))
    result = sync(emulator, catalog=catalog_of("customers"))
    assert result.exit_code == 0
    assert result.keys("customers", "id") == held(emulator)["customers"]
