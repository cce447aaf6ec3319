"""The library: data from a seed, several emulators at once, changes from any thread."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import requests

from partnercenter_emulator import Credentials, Emulator, Fault, Fixture, Options, State, create_app

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

ReadAll: TypeAlias = Callable[[requests.Session, str], list[dict[str, Any]]]

GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def _data(emulator: Emulator) -> list[Any]:
    return [
        list(source())
        for source in (
            emulator.customers, emulator.resellers, emulator.memberships, emulator.relationships,
        )
    ]  # fmt: skip


def test_the_same_seed_gives_the_same_data() -> None:
    """The data depends only on seed and sizes."""
    options = Options(seed=7, customers=800, resellers=9)
    assert _data(Emulator(options)) == _data(Emulator(options))
    other = _data(Emulator(Options(seed=8, customers=800, resellers=9)))
    assert other[0] != _data(Emulator(options))[0]


def test_more_customers_do_not_change_the_first_ones() -> None:
    """A larger partner starts with the smaller one's customers."""
    few, many = (Emulator(Options(customers=count)) for count in (100, 200))
    assert list(many.customers())[:100] == list(few.customers())


@pytest.mark.slow
def test_the_data_has_the_documented_proportions() -> None:
    """Ids are GUIDs, domains are unique, few are direct or served twice, sizes are uneven."""
    emulator = Emulator(Options(customers=20_000, resellers=20))
    customers, resellers, memberships, _ = _data(emulator)
    assert all(GUID.fullmatch(record["id"]) for record in customers + resellers)
    assert len({customer["id"] for customer in customers}) == 20_000
    domains = {customer["companyProfile"]["domain"] for customer in customers}
    assert len(domains) == 20_000
    assert all(re.fullmatch(r"[a-z]+\d+\.onmicrosoft\.com", domain) for domain in domains)
    served = [pair["customer_id"] for pair in memberships]
    assert 0.03 < 1 - len(set(served)) / 20_000 < 0.05
    assert 0.005 < (len(served) - len(set(served))) / 20_000 < 0.015
    sizes = [
        sum(pair["reseller_id"] == reseller["id"] for pair in memberships)
        for reseller in (resellers[0], resellers[-1])
    ]
    assert sizes[0] > 10 * sizes[1] > 0
    names = "".join(customer["companyProfile"]["companyName"] for customer in customers)
    assert {"Å", "ß", "ş", "Θ", "青", "Ł"} <= set(names)


def test_a_hundred_thousand_customers_are_ready(sign_in: SignIn) -> None:
    """The last one is served like the first."""
    with Emulator(Options(customers=100_000, resellers=40)) as emulator:
        counts = emulator.counts()
        assert counts["customers"] == 100_000
        assert counts["memberships"] > 95_000
        client = sign_in(emulator)
        identifier = emulator.create_customer("Hundratusenoch ett AB")["id"]
        assert client.get(f"/v1/customers/{identifier}").status_code == 200
        assert emulator.counts()["customers"] == 100_001


def test_a_partner_may_have_no_customers(sign_in: SignIn, read_all: ReadAll) -> None:
    """No customers and no resellers, whatever the ending."""
    for ending in ("plain", "empty", "code_2000"):
        with Emulator(Options(customers=0, resellers=0)) as emulator:
            emulator.configure(ending=ending)
            client = sign_in(emulator)
            assert [page["items"] for page in read_all(client, "/v1/customers")] == [[]]
    assert Emulator(Options(customers=5, resellers=0)).counts()["direct_customers"] == 5
    assert Emulator(Options(customers=500, resellers=1)).counts()["memberships"] < 500


def test_fixed_data_is_served_as_given(sign_in: SignIn) -> None:
    """Records, memberships and relationships given by a test."""
    customers: list[dict[str, Any]] = [
        {"id": f"{number:08d}-0000-4000-8000-000000000000", "odd": [number, None]}
        for number in range(3)
    ]
    resellers = [{"id": "r1", "name": "Eins"}, {"id": "R2", "name": "Zwei"}]
    first, second, third = (customer["id"] for customer in customers)
    fixture = Fixture(
        customers=customers,
        resellers=resellers,
        memberships=[(first, "r1"), (second, "R2"), (second, "r1")],
        relationships={third: [{"id": "stranger", "relationshipType": 2}]},
    )
    with Emulator(fixture=fixture) as emulator:
        client = sign_in(emulator)
        assert client.get("/v1/customers").json()["items"] == customers
        relations = [
            [item["id"] for item in client.get(f"/v1/customers/{c}/relationships").json()["items"]]
            for c in (first, second, third)
        ]
        assert relations == [["r1"], ["R2", "r1"], ["stranger"]]
        assert list(emulator.memberships()) == [
            {"reseller_id": "r1", "customer_id": first},
            {"reseller_id": "r1", "customer_id": second},
            {"reseller_id": "R2", "customer_id": second},
        ]


def test_several_emulators_run_at_once(sign_in: SignIn) -> None:
    """Each has its port, its data and its tokens."""
    with Emulator(Options(customers=2)) as one, Emulator(Options(customers=3)) as other:
        assert one.url != other.url
        client = sign_in(one)
        assert client.get("/v1/customers").json()["totalCount"] == 2
        assert client.get(f"{other.url}/v1/customers").status_code == 401


def test_an_emulator_stops_and_starts_again(sign_in: SignIn) -> None:
    """It keeps its data; while stopped it has no address."""
    emulator = Emulator(Options(customers=2))
    with pytest.raises(RuntimeError, match="not serving"):
        _ = emulator.url
    emulator.create_customer("Innan Start AB")
    with emulator:
        emulator.start()
        url = emulator.url
        assert sign_in(emulator).get("/v1/customers").json()["totalCount"] == 3
    emulator.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=1)
    with emulator:
        assert sign_in(emulator).get("/v1/customers").json()["totalCount"] == 3


def test_changes_may_come_from_any_thread(sign_in: SignIn) -> None:
    """Many threads change and read at once; nothing is lost."""
    with Emulator(Options(customers=50, resellers=2)) as emulator:
        client = sign_in(emulator)

        def work() -> None:
            for _ in range(20):
                emulator.remove_customer(emulator.create_customer("Flyktig AB")["id"])
                emulator.create_customer("Stadig AB")
                list(emulator.customers())

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            assert client.get("/v1/customers").status_code == 200
        for thread in threads:
            thread.join()
        assert client.get("/v1/customers").json()["totalCount"] == 130


def test_no_thread_waits_for_an_emulator_that_stops() -> None:
    """Every member works while other threads start and stop it at the same time."""
    emulator = Emulator(Options(customers=3, resellers=2))
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            emulator.stats()
            emulator.configure(latency=0)
            emulator.faults = []
            assert len(list(emulator.customers())) == 3

    def restart() -> None:
        for _ in range(10):
            emulator.start()
            emulator.stop()

    working = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    restarting = [threading.Thread(target=restart, daemon=True) for _ in range(3)]
    for thread in working + restarting:
        thread.start()
    for thread in restarting:
        thread.join(60)
    over.set()
    for thread in working:
        thread.join(10)
    assert not [thread for thread in working + restarting if thread.is_alive()]


def test_settings_point_the_tap_here() -> None:
    """Settings and environment variables contain the same values."""
    with Emulator(Options(customers=1)) as emulator:
        config = emulator.tap_config()
        assert config["api_url"] == config["auth_url"] == emulator.url
        assert config["refresh_token"] == emulator.credentials.refresh_token
        assert set(config) - set(emulator.tap_config(app_only=True)) == {"refresh_token"}
        environment = emulator.environment()
        assert environment.pop("PARTNERCENTER_EMULATOR_URL") == emulator.url
        assert environment == {
            f"TAP_PARTNERCENTER_{name.upper()}": text for name, text in config.items()
        }


def test_credentials_may_be_chosen(sign_in: SignIn) -> None:
    """Clients sign in with them."""
    credentials = Credentials(tenant_id="t", client_id="c", client_secret="s", refresh_token="r")  # noqa: S106
    with Emulator(Options(customers=1), credentials=credentials) as emulator:
        assert emulator.credentials == credentials
        assert sign_in(emulator).get("/v1/customers").status_code == 200


def test_requests_in_flight_are_counted(sign_in: SignIn) -> None:
    """The highest number at once is recorded."""
    with Emulator(Options(customers=1, latency=0.02)) as emulator:
        clients = [sign_in(emulator) for _ in range(3)]
        barrier = threading.Barrier(3)

        def ask(client: requests.Session) -> None:
            barrier.wait()
            client.get("/v1/customers")

        threads = [threading.Thread(target=ask, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stats = emulator.stats()
        assert (stats.in_flight, stats.most_in_flight) == (0, 3)


@pytest.mark.parametrize(
    "options",
    [{"customers": -1}, {"page_limit": 501}, {"link_form": "odd"}, {"bom": True}],
)
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    """By name, before the start."""
    with pytest.raises(ValueError, match=next(iter(options))):
        Emulator(Options(**options))


def test_only_localhost_is_served_by_default() -> None:
    """Another host must be allowed explicitly."""
    for host in ("0.0.0.0", "::", "example.org"):  # noqa: S104
        with pytest.raises(ValueError, match="other machines"):
            Emulator(host=host)
    Emulator(host="0.0.0.0", allow_remote=True)  # noqa: S104


def test_the_application_serves_without_our_server() -> None:
    """Any ASGI server works: lifespan, requests, and faults that do not cut the connection."""
    state = State(Options(customers=1), faults=[Fault(place="token", reset=True)])
    sent: list[dict[str, Any]] = []

    async def run(scope: dict[str, Any], *events: dict[str, Any]) -> None:
        incoming = iter(events)

        async def receive() -> Any:
            return next(incoming)

        async def send(message: Any) -> None:
            sent.append(message)

        await create_app(state)(scope, receive, send)

    lifespan = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    asyncio.run(run({"type": "lifespan"}, *lifespan))
    request = {"type": "http", "query_string": b"", "headers": [], "method": "POST"}
    body = {"type": "http.request", "body": b""}
    asyncio.run(run(request | {"path": "/v1/nowhere"}, body))
    asyncio.run(run(request | {"path": "/t/oauth2/token"}, body))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete", "lifespan.shutdown.complete",
        "http.response.start", "http.response.body",
    ]  # fmt: skip
