"""Faults on demand: each kind of fault."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from partnercenter_emulator import Emulator, Fault, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.emulator.conftest import Page, SignIn, TokenForm

LIST = "/v1/customers?size=2"
SMALL = Options(customers=9, resellers=2)


def _response(sign_in: SignIn, **fault: Any) -> requests.Response:
    with Emulator(SMALL, faults=[Fault(place="customers", **fault)]) as emulator:
        return sign_in(emulator).get(LIST, allow_redirects=False)


@pytest.mark.parametrize(
    ("fault", "body"),
    [
        (
            {"status": 403, "code": 20002},
            {"code": 20002, "description": "Fault on demand: Forbidden.", "data": [],
             "source": "PartnerFD"},
        ),
        (
            {"status": 401, "code": "900420", "description": "Wrong audience."},
            {"code": "900420", "description": "Wrong audience.", "data": [],
             "source": "PartnerFD"},
        ),
        ({"status": 429}, {"statusCode": 429, "message": "Fault on demand: Too Many Requests."}),
        ({"status": 503, "shape": "B"},
         {"statusCode": 503, "message": "Fault on demand: Service Unavailable."}),
        ({"status": 400, "shape": "C", "description": "No."}, {"message": "No."}),
    ],
)  # fmt: skip
def test_an_error_has_the_requested_shape(
    fault: dict[str, Any], body: Page, sign_in: SignIn
) -> None:
    """Shapes A to C, codes as integer and as text."""
    response = _response(sign_in, **fault)
    assert (response.status_code, response.json()) == (fault["status"], body)


@pytest.mark.parametrize(
    ("status", "code"), [(400, 2000), (401, 400), (404, 1000), (500, 900192), (599, 599)]
)
def test_an_error_without_a_code_has_the_usual_one(status: int, code: int, sign_in: SignIn) -> None:
    """Each status has the code paired with it in the vendor's table."""
    assert _response(sign_in, status=status).json()["code"] == code


def test_an_error_may_have_no_body_or_a_page(sign_in: SignIn) -> None:
    """Shape D is empty, and html is a gateway's error page."""
    response = _response(sign_in, status=502, shape="D")
    assert (response.status_code, response.content) == (502, b"")
    assert "Content-Type" not in response.headers
    response = _response(sign_in, status=504, shape="html")
    assert response.headers["Content-Type"].startswith("text/html")
    assert response.text.startswith("<html>")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("fault", [{}, {"empty_body": True}])
def test_a_response_without_a_body_keeps_the_connection(
    status: int, fault: dict[str, Any], sign_in: SignIn
) -> None:
    """It has no length either, and the next answer uses the same connection."""
    rules = [Fault(place="customers", status=status, times=2, **fault)]
    with Emulator(Options(customers=1, bom="all"), faults=rules) as emulator:
        headers = {"Authorization": str(sign_in(emulator).headers["Authorization"])}
        connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"))
        connection.connect()
        connection.auto_open = 0
        for expected in (status, status, 200):
            connection.request("GET", LIST, headers=headers)
            response = connection.getresponse()
            body = response.read()
            assert (response.status, bool(body)) == (expected, expected == 200)
            assert ("Content-Length" in response.headers) == (expected == 200)
            assert ("Content-Type" in response.headers) == (expected == 200)
        connection.close()


def test_a_request_for_an_unknown_path_says_so() -> None:
    """`OPTIONS *` is about the server as a whole."""
    with Emulator(SMALL) as emulator:
        connection = http.client.HTTPConnection(emulator.url.removeprefix("http://"))
        connection.request("OPTIONS", "*")
        assert connection.getresponse().status == 404
        connection.close()


def test_an_error_may_have_headers(sign_in: SignIn) -> None:
    """The statistics treat Retry-After like a quota's."""
    fault = Fault(place="customers", status=429, headers={"Retry-After": "57"}, times=1)
    with Emulator(SMALL, faults=[fault]) as emulator:
        client = sign_in(emulator)
        assert client.get(LIST).headers["Retry-After"] == "57"
        assert client.get(LIST).status_code == 200
        assert emulator.stats().inside_retry_after == 1


def test_a_connection_may_be_reset(sign_in: SignIn) -> None:
    """The client gets no answer, the log has status 0, and the next request works."""
    with Emulator(SMALL, faults=[Fault(place="customers", reset=True, times=1)]) as emulator:
        client = sign_in(emulator)
        with pytest.raises(requests.ConnectionError):
            client.get(LIST)
        assert client.get(LIST).status_code == 200
        statuses = {"0": 1, "200": 1}
        assert emulator.stats().by_place["customers"] == statuses
        assert emulator.stats().in_flight == 0


def test_a_body_may_be_cut_short(sign_in: SignIn) -> None:
    """Less than the promised length is sent."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Incomplete"):
        _response(sign_in, truncate=True)


def test_an_error_may_be_cut_short_too(sign_in: SignIn) -> None:
    """Actions can be combined."""
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="Incomplete"):
        _response(sign_in, truncate=True, status=500)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["headers", "body", "trailers"])
def test_a_response_may_drip(part: str, sign_in: SignIn) -> None:
    """It is complete in the end, for clients that wait."""
    response = _response(sign_in, drip=part, json={"items": []}, headers={"X-More": "1"})
    assert (response.json(), response.headers["X-More"]) == ({"items": []}, "1")
    assert response.elapsed.total_seconds() > (1 if part == "headers" else 0)


def test_a_response_may_never_begin(sign_in: SignIn) -> None:
    """A client that waits gets 100 Continue again and again."""
    with Emulator(SMALL, faults=[Fault(place="customers", drip="continue")]) as emulator:
        client = sign_in(emulator)
        address = urlsplit(emulator.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            token = str(client.headers["Authorization"])
            request = f"GET {LIST} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
            connection.sendall(request.encode())
            received = b""
            while received.count(b"HTTP/1.1 100 Continue\r\n\r\n") < 3:
                received += connection.recv(1024)
        assert b"200" not in received


def _received(sign_in: SignIn, requested: int, **fault: Any) -> list[bytes]:
    """What one connection receives for each of several requests."""
    with Emulator(SMALL, faults=[Fault(place="customers", times=1, **fault)]) as emulator:
        client = sign_in(emulator)
        address = urlsplit(emulator.url)
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            received = []
            for number in range(requested):
                lines = [f"GET {LIST} HTTP/1.1", "Host: x", f"MS-RequestId: {number}"]
                lines += [f"Authorization: {client.headers['Authorization']!s}", "\r\n"]
                connection.sendall("\r\n".join(lines).encode())
                response = b""
                while not response.endswith(b"}"):
                    response += connection.recv(65536)
                received.append(response)
            return received


def test_a_response_may_follow_an_interim_one(sign_in: SignIn) -> None:
    """It is the API's own."""
    (response,) = _received(sign_in, 1, interim=103)
    interim, _, rest = response.partition(b"\r\n\r\n")
    assert interim == b"HTTP/1.1 103 Interim"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_may_end_with_its_connection(sign_in: SignIn) -> None:
    """Nothing else tells where it ends."""
    response = _response(sign_in, unframed=True)
    assert len(response.json()["items"]) == 2
    assert not {"Content-Length", "Transfer-Encoding"} & response.headers.keys()


def test_a_response_may_be_sent_twice(sign_in: SignIn) -> None:
    """The second time before the answer to the next request."""
    first, second = _received(sign_in, 2, repeat=True)
    assert second.startswith(first)


def test_a_success_may_be_no_json_or_nothing(sign_in: SignIn) -> None:
    """Both with status 200 and JSON's content type."""
    for fault, length in (({"not_json": True}, 20), ({"empty_body": True}, 0)):
        response = _response(sign_in, **fault)
        assert (response.status_code, len(response.content)) == (200, length)
        assert response.headers["Content-Type"].startswith("application/json")
        with pytest.raises(ValueError, match="Expecting"):
            response.json()


@pytest.mark.parametrize("name", ["customers", "customers_of_a_reseller", "create_response"])
def test_a_printed_response_is_served_byte_for_byte(
    name: str, sign_in: SignIn, printed: Callable[[str], bytes]
) -> None:
    """Whatever the options, raw bytes are sent unchanged."""
    fault = Fault(place="customers", body=printed(name), headers={"Content-Type": "text/json"})
    with Emulator(Options(customers=1, bom="all", gzip=True), faults=[fault]) as emulator:
        response = sign_in(emulator).get(LIST)
        assert response.content == printed(name)
        assert response.headers["Content-Type"] == "text/json"


def test_a_document_may_be_given(sign_in: SignIn) -> None:
    """Any JSON, including null, with any status."""
    assert _response(sign_in, json={"items": None, "links": {"next": None}}).json()["items"] is None
    assert _response(sign_in, json=None).json() is None
    assert _response(sign_in, json=[], status=206).status_code == 206


def test_a_redirect_may_lead_to_another_host(sign_in: SignIn) -> None:
    """302 by default."""
    response = _response(sign_in, redirect="http://127.0.0.1:9/steal")
    assert (response.status_code, response.headers["Location"]) == (302, "http://127.0.0.1:9/steal")
    assert _response(sign_in, redirect="/x", status=307).status_code == 307


def test_a_body_may_be_huge_or_deep(sign_in: SignIn) -> None:
    """A string of a given size, sent in pieces; a given number of nested arrays."""
    response = _response(sign_in, huge_body=200_000)
    assert (len(response.content), "Content-Length" in response.headers) == (200_000, False)
    assert json.loads(response.content) == "x" * 199_998
    assert _response(sign_in, huge_body=2).content == b'""'
    deep = _response(sign_in, deep_json=9000).content.decode("utf-8-sig")
    assert deep == "[" * 9000 + "]" * 9000


def test_a_token_may_expire_in_the_middle(sign_in: SignIn) -> None:
    """401, and the token remains refused; a new one works."""
    with Emulator(SMALL, faults=[Fault(place="customers", expire_token=True, times=1)]) as emulator:
        client = sign_in(emulator)
        for _ in range(2):
            response = client.get(LIST)
            assert (response.status_code, response.json()["code"]) == (401, 400)
        assert sign_in(emulator).get(LIST).status_code == 200


def test_a_response_may_hang(connect: SignIn, sign_in: SignIn) -> None:
    """The emulator notices if a client gives up, and stops at once despite a hanging request."""
    with Emulator(SMALL, faults=[Fault(place="customers", hang=3600)]) as emulator:
        client = sign_in(emulator)
        with pytest.raises(requests.ReadTimeout):
            client.get(LIST, timeout=0.01)
        assert connect(emulator).get("/_emulator/stats").json()["requests"] == 2
    assert emulator.stats().in_flight == 0


def test_a_short_hang_only_delays_the_response(sign_in: SignIn) -> None:
    """The answer is sent afterwards."""
    assert _response(sign_in, hang=0.005).status_code == 200
    assert _response(sign_in, hang=0.005, status=500).status_code == 500


def test_a_link_may_lead_to_another_origin(sign_in: SignIn) -> None:
    """The URI changes and the headers stay, even if there was no link."""
    link = _response(sign_in, link_to="http://evil.example/v1/customers").json()["links"]["next"]
    assert link["uri"] == "http://evil.example/v1/customers"
    assert link["headers"][0]["key"] == "MS-ContinuationToken"
    with Emulator(Options(customers=1), faults=[Fault(link_to="/x", skip=1)]) as emulator:
        assert sign_in(emulator).get(LIST).json()["links"]["next"]["uri"] == "/x"


@pytest.mark.parametrize("cycle", [1, 2])
def test_pages_may_form_a_loop(
    cycle: Any,
    sign_in: SignIn,
    follow: Callable[[requests.Session, Page, str], requests.Response | None],
) -> None:
    """One token forever, or two in turn."""
    with Emulator(SMALL, faults=[Fault(place="continuation", cycle=cycle)]) as emulator:
        client = sign_in(emulator)
        page, tokens = client.get(LIST).json(), []
        for _ in range(8):
            response = follow(client, page, LIST)
            assert response is not None
            page = response.json()
            tokens.append(page["links"]["next"]["headers"][0]["value"])
        assert len(set(tokens)) == cycle
        assert tokens[:cycle] == tokens[2 * cycle : 3 * cycle]


def test_items_may_be_changed(sign_in: SignIn) -> None:
    """Repeated, extended, stripped, or invalid."""
    items = _response(sign_in, duplicate_first_item=True).json()["items"]
    assert (len(items), items[0]) == (3, items[-1])
    secret = {"userCredentials": {"userName": "admin", "password": "geheim"}}
    items = _response(sign_in, add_fields=secret).json()["items"]
    assert all(item["userCredentials"] == secret["userCredentials"] for item in items)
    items = _response(sign_in, drop_field="items.companyProfile.domain").json()["items"]
    assert all("domain" not in item["companyProfile"] for item in items)
    assert "links" not in _response(sign_in, drop_field="links").json()
    assert isinstance(_response(sign_in, items_not_list=True).json()["items"], dict)
    assert isinstance(_response(sign_in, item_not_object=True).json()["items"][0], str)


def test_single_records_may_be_changed_too(sign_in: SignIn) -> None:
    """Without items, fields are merged into the record itself."""
    with Emulator(SMALL, faults=[Fault(place="customer", add_fields={"new": 1})]) as emulator:
        customer = next(emulator.customers())["id"]
        assert sign_in(emulator).get(f"/v1/customers/{customer}").json()["new"] == 1


def test_a_refusal_is_not_changed(sign_in: SignIn) -> None:
    """A fault that changes the document leaves the API's errors unchanged."""
    with Emulator(SMALL, faults=[Fault(place="customers", add_fields={"new": 1})]) as emulator:
        response = sign_in(emulator).get("/v1/customers?size=501")
        assert (response.status_code, response.json()["code"]) == (400, 2000)


def test_the_token_endpoint_fails_in_its_own_shape(connect: SignIn, token_form: TokenForm) -> None:
    """An MFA error has the requested number; any other error is temporary."""
    faults = [
        Fault(place="token", status=400, code=50076, times=1),
        Fault(place="token", status=503, times=1),
        Fault(place="token", reset=True, times=1),
        Fault(place="token", not_json=True, times=1),
    ]
    with Emulator(SMALL, faults=faults) as emulator:
        client, form = connect(emulator), token_form(emulator)
        path = f"/{emulator.credentials.tenant_id}/oauth2/v2.0/token"
        response = client.post(path, data=form)
        assert (response.json()["error"], response.json()["error_codes"]) == (
            "invalid_grant",
            [50076],
        )
        response = client.post(path, data=form)
        assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
        with pytest.raises(requests.ConnectionError):
            client.post(path, data=form)
        assert client.post(path, data=form).text == "{this is not JSON"
        assert client.post(path, data=form).status_code == 200


@pytest.mark.parametrize(
    ("bom", "marked"),
    [("none", []), ("success", [200]), ("error", [400, 429]), ("all", [200, 400, 429])],
)
def test_responses_may_begin_with_a_byte_order_mark(
    bom: str, marked: list[int], sign_in: SignIn
) -> None:
    """On successes, as in all real recordings, on errors (even 429), or on all of them."""
    with Emulator(Options(customers=3)) as emulator:
        assert emulator.options.bom == "success"
        emulator.configure(bom=bom)
        client = sign_in(emulator)
        answers = [client.get(LIST), client.get("/v1/customers?size=501")]
        emulator.faults = [Fault(place="customers", status=429)]
        answers.append(client.get(LIST))
        found = [a.status_code for a in answers if a.content.startswith(b"\xef\xbb\xbf")]
        assert found == marked
        for response in answers:
            assert json.loads(response.content.decode("utf-8-sig"))


def test_responses_may_be_compressed(sign_in: SignIn) -> None:
    """Only for clients that accept it."""
    with Emulator(Options(customers=3, gzip=True)) as emulator:
        client = sign_in(emulator)
        packed = client.get(LIST)
        plain = client.get(LIST, headers={"Accept-Encoding": "identity"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert packed.json() == plain.json()


def test_latency_delays_every_response(sign_in: SignIn) -> None:
    """API and token endpoint have separate delays."""
    with Emulator(Options(customers=3, latency=0.004, token_latency=0.003)) as emulator:
        sign_in(emulator).get(LIST)
        token, page = emulator.requests
        assert token.seconds >= 0.003
        assert page.seconds >= 0.004
