"""The admin API below `/_emulator`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Emulator, Options

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

SMALL = Options(customers=12, resellers=2)


def test_the_emulator_describes_itself_without_secrets(connect: SignIn) -> None:
    """It shows address, ids, options and rules, but no secrets."""
    with Emulator(SMALL) as emulator:
        response = connect(emulator).get("/_emulator")
        about = response.json()
        assert about["address"] == emulator.url
        assert about["tenant_id"] == emulator.credentials.tenant_id
        assert about["options"]["customers"] == 12
        assert emulator.credentials.client_secret not in response.text
        assert emulator.credentials.refresh_token not in response.text


def test_requests_are_counted_and_remembered_without_secrets(
    connect: SignIn, sign_in: SignIn
) -> None:
    """Counts by place and status, the latest requests, and a reset."""
    with Emulator(SMALL) as emulator:
        client, admin = sign_in(emulator), connect(emulator)
        headers = {"MS-RequestId": "r1", "MS-CorrelationId": "c1", "User-Agent": "tap/1"}
        client.get("/v1/customers?size=2", headers=headers)
        client.get("/v1/nowhere")
        admin.get("/v1/customers")
        stats = admin.get("/_emulator/stats").json()
        assert stats["by_place"] == {
            "customers": {"200": 1, "401": 1}, "other": {"404": 1}, "token": {"200": 1},
        }  # fmt: skip
        assert (stats["requests"], stats["tokens_issued"], stats["in_flight"]) == (4, 1, 0)
        assert (stats["most_in_flight"], stats["refused"]) == (1, 0)
        assert stats["first_request_at"] <= stats["last_request_at"]
        assert stats["processor_seconds"] > 0
        response = admin.get("/_emulator/requests")
        token, page, _, refused = response.json()
        assert (page["method"], page["path"]) == ("GET", "/v1/customers?size=2")
        assert (page["request_id"], page["correlation_id"]) == ("r1", "c1")
        assert (page["user_agent"], page["place"], page["status"]) == ("tap/1", "customers", 200)
        assert (page["has_token"], token["has_token"], refused["has_token"]) == (True, False, False)
        assert str(client.headers["Authorization"])[7:] not in response.text
        assert emulator.credentials.client_secret not in response.text
        assert admin.delete("/_emulator/requests").status_code == 204
        stats = admin.get("/_emulator/stats").json()
        assert (stats["requests"], stats["by_place"], stats["tokens_issued"]) == (0, {}, 0)


def test_only_the_latest_requests_are_remembered(sign_in: SignIn) -> None:
    """The log has the configured length."""
    with Emulator(Options(customers=1, request_log=2)) as emulator:
        client = sign_in(emulator)
        for _ in range(4):
            client.get("/v1/customers")
        assert [request.number for request in emulator.requests] == [4, 5]
        assert emulator.stats().requests == 5


def test_rules_are_replaced_and_shown(connect: SignIn, sign_in: SignIn) -> None:
    """A list of rules as JSON; raw bodies are base64."""
    rules: list[dict[str, Any]] = [
        {"place": "customers", "body": "eyJvayI6MX0=", "times": 1},
        {"place": "customers", "json": None, "times": 1},
        {"place": "customers", "status": 500, "code": "x"},
    ]
    with Emulator(SMALL) as emulator:
        client, admin = sign_in(emulator), connect(emulator)
        shown = admin.put("/_emulator/faults", json=rules).json()
        assert all(rule.items() <= full.items() for rule, full in zip(rules, shown, strict=True))
        assert admin.put("/_emulator/faults", json=shown).json() == shown
        assert client.get("/v1/customers").json() == {"ok": 1}
        assert client.get("/v1/customers").json() is None
        assert client.get("/v1/customers").json()["code"] == "x"
        assert admin.get("/_emulator/faults").json() == shown


@pytest.mark.parametrize(
    ("method", "path", "body", "reported"),
    [
        ("PUT", "faults", '[{"place": "nowhere", "status": 500}]', "nowhere"),
        ("PUT", "faults", '[{"plaice": "any"}]', "plaice"),
        ("PUT", "faults", "[{}]", "fault requires an action"),
        ("PUT", "faults", "nonsense", "malformed"),
        ("PATCH", "options", '{"latency": -1}', "latency"),
        ("PATCH", "options", '{"latence": 1}', "latence"),
        ("PATCH", "options", '{"seed": 2}', "seed"),
        ("PATCH", "options", '{"empty_page_every": 1}', "every page empty"),
        ("POST", "customers", "{}", "name"),
        ("PUT", "faults", '[{"json": ' + "[" * 100_000 + "]" * 100_000 + "}]", "deep"),
    ],
)
def test_a_wrong_change_is_refused_and_named(
    method: str, path: str, body: str, reported: str, connect: SignIn
) -> None:
    """The answer says what is wrong, and nothing has changed."""
    with Emulator(SMALL) as emulator:
        before = (emulator.options, emulator.faults)
        response = connect(emulator).request(method, f"/_emulator/{path}", data=body.encode())
        assert response.status_code == 400
        assert reported in response.json()["error"]
        assert (emulator.options, emulator.faults) == before


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Host": "localhost:8080"}, 201),
        ({"Host": "[::1]:8080"}, 201),
        ({"Host": "10.1.2.3"}, 201),
        ({"Host": "Emulator:8080"}, 201),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8080"}, 201),
        ({"Host": "rebound.example"}, 403),
        ({"Host": "rebound.example", "Origin": "http://rebound.example"}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "https://page.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "localhost:8080", "Origin": "http://localhost:8081"}, 403),
    ],
)
def test_a_web_page_cannot_use_the_admin_api(
    headers: dict[str, str], status: int, connect: SignIn
) -> None:
    """Neither one from another origin, nor one whose host name resolves to this machine."""
    with Emulator(SMALL, allowed_hosts=["emulator"]) as emulator:
        # As a page's form would send it, without a preflight request.
        plain = {"Content-Type": "text/plain"}
        response = connect(emulator).post(
            "/_emulator/customers", data=b'{"name": "x"}', headers=plain | headers
        )
        assert response.status_code == status
        assert emulator.counts()["customers"] == 12 + (status == 201)
        assert ("error" in response.json()) == (status == 403)


def test_options_change_at_run_time(connect: SignIn, sign_in: SignIn) -> None:
    """The change applies from the next request on."""
    with Emulator(SMALL) as emulator:
        changes = {"link_form": "token_only", "page_limit": 5}
        response = connect(emulator).patch("/_emulator/options", json=changes)
        assert changes.items() <= response.json().items()
        page = sign_in(emulator).get("/v1/customers").json()
        assert len(page["items"]) == 5
        assert "continuationToken" in page


@pytest.mark.parametrize("kind", ["customers", "resellers", "memberships", "relationships"])
def test_the_data_can_be_listed_as_json_lines(kind: str, connect: SignIn) -> None:
    """The same as the library's, one record a line."""
    with Emulator(Options(customers=1200, resellers=3)) as emulator:
        response = connect(emulator).get(f"/_emulator/data/{kind}")
        lines = [json.loads(line) for line in response.content.splitlines()]
        assert lines == list(getattr(emulator, kind)())
        assert connect(emulator).get("/_emulator/data/nothing").status_code == 404


def test_customers_are_added_renamed_moved_and_removed(connect: SignIn, sign_in: SignIn) -> None:
    """Each change is visible at once in the API."""
    with Emulator(SMALL) as emulator:
        admin, client = connect(emulator), sign_in(emulator)
        one, other = (reseller["id"] for reseller in emulator.resellers())
        created = admin.post("/_emulator/customers", json={"name": "Åbo", "reseller_id": one})
        assert created.status_code == 201
        address = f"customers/{created.json()['id']}"
        record = client.get(f"/v1/{address}").json()
        assert (record["companyProfile"]["companyName"], record["associatedPartnerId"]) == (
            "Åbo", one,
        )  # fmt: skip
        admin.patch(f"/_emulator/{address}", json={"name": "Örebro"})
        admin.post(f"/_emulator/{address}/reseller", json={"reseller_id": other})
        record = client.get(f"/v1/{address}").json()
        assert (record["companyProfile"]["companyName"], record["associatedPartnerId"]) == (
            "Örebro", other,
        )  # fmt: skip
        listed = client.get("/v1/customers").json()["items"][-1]
        assert listed["companyProfile"]["companyName"] == "Örebro"
        admin.post(f"/_emulator/{address}/reseller", json={"reseller_id": None})
        assert client.get(f"/v1/{address}/relationships").json()["items"] == []
        assert admin.get("/_emulator/data/counts").json()["customers"] == 13
        assert admin.delete(f"/_emulator/{address}").status_code == 204
        assert admin.delete(f"/_emulator/{address}").status_code == 404
        assert client.get(f"/v1/{address}").status_code == 404
        strange = {"name": "x", "reseller_id": "nobody"}
        assert admin.post("/_emulator/customers", json=strange).status_code == 404


def test_the_admin_api_may_be_off(connect: SignIn) -> None:
    """Its paths are then as unknown as any other."""
    with Emulator(Options(customers=1, admin=False)) as emulator:
        assert connect(emulator).get("/_emulator").status_code == 404
