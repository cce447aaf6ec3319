"""The audit log: its days, its order, and which changes it contains."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Fixture, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.emulator.conftest import SignIn

NOW = 1_790_000_000.0
DAY = 86_400
TODAY = "2026-09-21"
QUIET = Options(customers=9, resellers=2, audit_per_day=0)


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def _audited(emulator: Emulator) -> list[tuple[str, str]]:
    found = emulator.held("audit_records")
    return [(record["operationType"], record["operationDate"][:10]) for record in found]


def _days(client: requests.Session, query: str) -> list[str]:
    page = client.get(f"/v1/auditrecords?{query}&size=500").json()
    return [item["operationDate"][:10] for item in page["items"]]


def test_days_are_whole_and_both_ends_count(sign_in: SignIn) -> None:
    """The same start and end select one day; without a start it is 30 days back."""
    with Emulator(Options(customers=9, audit_per_day=3), clock=_Clock()) as emulator:
        client = sign_in(emulator, app_only=True)
        assert _days(client, "startDate=2026-09-01&endDate=2026-09-01") == ["2026-09-01"] * 3
        assert len(_days(client, "startDate=2026-09-01&endDate=2026-09-03")) == 9
        assert min(_days(client, "")) == "2026-08-22"
        assert _days(client, "startDate=2026-09-03&endDate=2026-09-01") == []
        assert len(_days(client, "startDate=2026-06-23")) == 270


@pytest.mark.parametrize(
    "query",
    ["startDate=2026-06-22", "startDate=6/1/2026", "endDate=2026-02-30", "startDate=20260901"],
)
def test_a_date_outside_the_log_is_refused(query: str, sign_in: SignIn) -> None:
    """More than 90 days back, or in another form: 400 in the framework's shape."""
    with Emulator(QUIET, clock=_Clock()) as emulator:
        response = sign_in(emulator).get(f"/v1/auditrecords?{query}")
        assert (response.status_code, list(response.json())) == (400, ["message"])


def test_the_order_is_an_option(sign_in: SignIn) -> None:
    """Newest first or oldest first; the same records."""
    with Emulator(Options(customers=9), clock=_Clock()) as emulator:
        falling = list(emulator.held("audit_records"))
        emulator.configure(audit_order="ascending")
        rising = list(emulator.held("audit_records"))
        assert falling == rising[::-1]
        dates = [record["operationDate"] for record in rising]
        assert dates == sorted(dates)
        page = sign_in(emulator).get("/v1/auditrecords?startDate=2026-06-23&size=500").json()
        assert page["items"] == rising


def test_history_grows_with_the_clock() -> None:
    """A day has its records once it is over; operations in progress succeed a day later."""
    clock = _Clock()
    emulator = Emulator(Options(customers=9, audit_per_day=20), clock=clock)
    before = {str(one): one for one in emulator.held("audit_records")}
    clock.now += DAY
    after = {str(one): one for one in emulator.held("audit_records")}
    new = [one for text, one in after.items() if text not in before]
    assert {one["operationDate"][:10] for one in new} == {"2026-09-20", TODAY}
    done = [one for one in new if one["operationDate"][:10] == "2026-09-20"]
    assert {one["operationStatus"] for one in done} == {"succeeded"}
    for one in done:
        assert str(one | {"operationStatus": "progress"}) in before


def _create(emulator: Emulator, **audit: Any) -> None:
    emulator.create_customer("Ny AB", **audit)


def _rename(emulator: Emulator, **audit: Any) -> None:
    emulator.rename_customer(_first(emulator), "Annat AB", **audit)


def _leave(emulator: Emulator, **audit: Any) -> None:
    emulator.remove_customer(_first(emulator), **audit)


def _first(emulator: Emulator) -> str:
    return str(next(emulator.held("subscriptions"))["customer_id"])


def _change(place: str, **members: Any) -> Callable[..., None]:
    def act(emulator: Emulator, **audit: Any) -> None:
        record = next(emulator.held(place))
        customer_id = record.get("customer_id")
        key = record.get("dateAgreed") or (record.get("productSku") or record)["id"]
        emulator.change(place, key, members, customer_id, **audit)

    return act


def _add(place: str) -> Callable[..., None]:
    return lambda emulator, **audit: emulator.add(place, {}, _first(emulator), **audit)


def _remove(emulator: Emulator, **audit: Any) -> None:
    record = next(emulator.held("subscriptions"))
    emulator.remove("subscriptions", record["id"], record["customer_id"], **audit)


CHANGES: list[tuple[Callable[..., None], str]] = [
    (_create, "add_customer"),
    (_rename, "update_company_info"),
    (_leave, "remove_partner_customer_relationship"),
    (_change("customer", billingProfile=None), "update_customer_billing_profile"),
    (_change("subscriptions", quantity=7), "update_subscription"),
    (_add("subscriptions"), "create_order"),
    (_remove, "update_transfer"),
    (_add("orders"), "create_order"),
    (_change("orders", status="cancelled"), "update_order"),
    (_add("agreements"), "create_agreement"),
    (_change("subscribed_skus", consumedUnits=1), "update_customer_user_licenses"),
    (_add("invoices"), "ready_invoice"),
]


@pytest.mark.parametrize(("change", "operation"), CHANGES, ids=[each[1] for each in CHANGES])
def test_a_change_is_audited_when_the_vendor_would(
    change: Callable[..., None], operation: str
) -> None:
    """At once, later, or never; in the end there is one record, dated the day of the change."""
    clock = _Clock()
    emulator = Emulator(QUIET, clock=clock)
    change(emulator, audited=False)
    assert _audited(emulator) == []
    change(emulator)
    assert _audited(emulator) == [(operation, TODAY)]
    change(emulator, late=2 * DAY)
    emulator.configure(audit_delay=3 * DAY)
    change(emulator)
    clock.now += 2 * DAY
    assert _audited(emulator) == [(operation, TODAY)] * 2
    clock.now += DAY
    assert _audited(emulator) == [(operation, TODAY)] * 3
    assert len({record["id"] for record in emulator.held("audit_records")}) == 3


def test_moves_between_resellers_are_not_audited(sign_in: SignIn) -> None:
    """Nor are added and removed relationships: the vendor's log has no operation for them."""
    with Emulator(QUIET, clock=_Clock()) as emulator:
        one, other = (str(reseller["id"]) for reseller in emulator.resellers())
        customer_id = str(emulator.create_customer("Ny AB", audited=False)["id"])
        emulator.move_customer(customer_id, one)
        assert emulator.add("relationships", {"id": other}, customer_id)["id"] == other
        client = sign_in(emulator)
        path = f"/v1/customers/{customer_id}/relationships"
        assert [item["id"] for item in client.get(path).json()["items"]] == [one, other]
        emulator.remove("relationships", one, customer_id)
        assert [item["id"] for item in client.get(path).json()["items"]] == [other]
        assert _audited(emulator) == []


def test_changes_show_in_the_api(sign_in: SignIn) -> None:
    """A record is added at the end, changes in place, and leaves a gap that moves no other."""
    with Emulator(QUIET, clock=_Clock()) as emulator:
        customer_id = _first(emulator)
        client, path = sign_in(emulator), f"/v1/customers/{customer_id}/subscriptions"
        before = client.get(path).json()["items"]
        added = emulator.add("subscriptions", {"quantity": 4711}, customer_id.upper())
        assert client.get(path).json()["items"] == [*before, added]
        changed = emulator.change("subscriptions", added["id"], {"quantity": 1}, customer_id)
        assert client.get(path).json()["items"] == [*before, changed]
        emulator.configure(collection_page_limit=len(before))
        page = client.get(path).json()
        headers = {pair["key"]: pair["value"] for pair in page["links"]["next"]["headers"]}
        emulator.remove("subscriptions", before[0]["id"], customer_id)
        rest = client.get("/v1" + page["links"]["next"]["uri"], headers=headers).json()
        assert rest["items"] == [changed]
        for wrong in (("subscriptions", "x"), ("invoices", "x"), ("nowhere", "x")):
            with pytest.raises(KeyError, match=wrong[0]):
                emulator.change(*wrong, {}, customer_id)


def test_a_created_customers_password_is_in_the_log(
    sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """As in the vendor's sample, in the text of the new value: clients must not pass it on."""
    with Emulator(QUIET, clock=_Clock()) as emulator:
        body = json.loads(printed("create_request")) | {"AssociatedPartnerId": None}
        created = sign_in(emulator).post("/v1/customers", json=body).json()
        (record,) = emulator.held("audit_records")
        value = json.loads(record["resourceNewValue"])
        assert value["UserCredentials"] == created["userCredentials"]
        assert value["CompanyProfile"]["Domain"] == created["companyProfile"]["domain"]
        assert record["customerId"] == created["id"]


def test_records_added_by_a_test_are_returned_unchanged(sign_in: SignIn) -> None:
    """Given at the start or later, even twice with one id, and changed afterwards."""
    given = {"id": "a", "operationDate": "2026-09-20T23:59:59.9999999Z", "odd": None}
    customer = {"id": "00000000-0000-4000-8000-000000000000"}
    bought = {"id": "S", "status": "odd"}
    fixture = Fixture(
        customers=[customer], audit_records=[given], subscriptions={customer["id"]: [bought]}
    )
    with Emulator(fixture=fixture, clock=_Clock()) as emulator:
        assert list(emulator.held("subscriptions")) == [{"customer_id": customer["id"]} | bought]
        assert list(emulator.held("audit_records")) == [given]
        later = emulator.add("audit_records", {"id": "b", "operationStatus": "progress"})
        again = emulator.add("audit_records", given)
        assert list(emulator.held("audit_records")) == [later, given, again]
        done = emulator.change("audit_records", "b", {"operationStatus": "succeeded"})
        query = f"startDate={TODAY}&endDate={TODAY}"
        page = sign_in(emulator).get(f"/v1/auditrecords?{query}").json()
        assert page["items"] == [done]


def test_changes_may_come_by_the_admin_api(connect: SignIn) -> None:
    """Records are added, changed and removed by place; the query controls the audit record."""
    with Emulator(QUIET, clock=_Clock()) as emulator:
        admin, customer_id = connect(emulator), _first(emulator)
        path = "/_emulator/records/subscriptions"
        who = {"customer_id": customer_id}
        added = admin.post(path, params=who | {"audited": "false"}, json={"quantity": 3})
        assert (added.status_code, added.json()["quantity"]) == (201, 3)
        path += f"/{added.json()['id']}"
        assert admin.patch(path, params=who, json={"quantity": 4}).json()["quantity"] == 4
        assert admin.delete(path, params=who | {"late": "60"}).status_code == 204
        assert admin.delete(path, params=who).status_code == 404
        assert admin.delete(path, params=who | {"late": "-1"}).status_code == 400
        customer = f"/_emulator/customers/{customer_id}"
        assert admin.delete(customer, params={"audited": "false"}).status_code == 204
        assert _audited(emulator) == [("update_subscription", TODAY)]
