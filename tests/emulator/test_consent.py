"""The interactive sign-in: authorize page, device code, certificates, and the claims of tokens."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from partnercenter_emulator import Credentials, Emulator, Fault, Options

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from tests.emulator.conftest import SignIn

SMALL = Options(customers=3, resellers=1)
SCOPE = "https://api.partnercenter.microsoft.com/user_impersonation offline_access openid"
REDIRECT = "http://localhost:8400"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=")
RESELLERS = "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
ACCEPT = {"answer": "accept", "account": "ada.admin", "mfa": "on"}


def _path(emulator: Emulator, endpoint: str) -> str:
    return f"/{emulator.credentials.tenant_id}/oauth2/v2.0/{endpoint}"


def _authorize(emulator: Emulator, **changes: str) -> str:
    query = {
        "client_id": emulator.credentials.client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "state": "the state",
        "nonce": "the nonce",
        "code_challenge": CHALLENGE.decode(),
        "code_challenge_method": "S256",
    } | changes
    chosen = urlencode({name: text for name, text in query.items() if text})
    return f"{_path(emulator, 'authorize')}?{chosen}"


def _answered(client: requests.Session, address: str, form: dict[str, str]) -> dict[str, str]:
    """Answer the page, and return the response to the app."""
    response = client.post(address, data=form, allow_redirects=False)
    location = urlsplit(response.headers["Location"])
    assert (response.status_code, f"{location.scheme}://{location.netloc}") == (302, REDIRECT)
    return {name: values[0] for name, values in parse_qs(location.query).items()}


def _code_form(emulator: Emulator, code: str, **changes: str) -> dict[str, str]:
    return {
        "grant_type": "authorization_code",
        "client_id": emulator.credentials.client_id,
        "client_secret": emulator.credentials.client_secret,
        "code": code,
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    } | changes


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_consent_leads_to_tokens_with_claims(connect: SignIn) -> None:
    """The page names the permissions; the tokens say who consented, with MFA, for which app."""
    with Emulator(SMALL) as emulator:
        client = connect(emulator)
        page = client.get(_authorize(emulator))
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "user_impersonation" in page.text
        back = _answered(client, _authorize(emulator), ACCEPT)
        assert back["state"] == "the state"
        form = _code_form(emulator, back["code"])
        document = client.post(_path(emulator, "token"), data=form).json()
        claims = _claims(document["access_token"])
        assert claims["aud"] == "https://api.partnercenter.microsoft.com"
        assert claims["tid"] == emulator.credentials.tenant_id
        assert claims["appid"] == emulator.credentials.client_id
        assert claims["amr"] == ["pwd", "mfa"]
        assert claims["upn"].startswith("ada.admin@")
        received = _claims(document["id_token"])
        assert (received["nonce"], received["aud"]) == ("the nonce", emulator.credentials.client_id)
        client.headers["Authorization"] = f"Bearer {document['access_token']}"
        assert client.get(RESELLERS).status_code == 200
        # Tokens from the refresh token have the same consent.
        again = _code_form(emulator, "", grant_type="refresh_token", scope=SCOPE)
        again["refresh_token"] = document["refresh_token"]
        renewed = client.post(_path(emulator, "token"), data=again).json()
        assert _claims(renewed["access_token"])["amr"] == ["pwd", "mfa"]
        assert "id_token" not in renewed


def test_a_token_that_was_tampered_with_is_refused(sign_in: SignIn) -> None:
    """The claims are readable, but cannot be changed."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator, app_only=True)
        assert client.get("/v1/customers").status_code == 200
        head, _, signature = str(client.headers["Authorization"]).split(".")
        claims = base64.urlsafe_b64encode(b'{"aud":"mine"}').rstrip(b"=").decode()
        client.headers["Authorization"] = f"{head}.{claims}.{signature}"
        assert client.get("/v1/customers").status_code == 401


@pytest.mark.parametrize(
    ("choice", "status", "code"),
    [
        ({"account": "ada.admin"}, 401, "900421"),
        ({"account": "sam.sales", "mfa": "on"}, 403, 900150),
    ],
)
def test_what_the_user_chose_decides_what_the_api_says(
    choice: dict[str, str], status: int, code: int | str, connect: SignIn
) -> None:
    """Without MFA, or without the role, consent has no effect."""
    with Emulator(SMALL) as emulator:
        client = connect(emulator)
        back = _answered(client, _authorize(emulator), {"answer": "accept", **choice})
        form = _code_form(emulator, back["code"])
        document = client.post(_path(emulator, "token"), data=form).json()
        client.headers["Authorization"] = f"Bearer {document['access_token']}"
        response = client.get(RESELLERS)
        assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_refusal_is_reported_to_the_app(connect: SignIn) -> None:
    """With the state, but without a code."""
    with Emulator(SMALL) as emulator:
        back = _answered(connect(emulator), _authorize(emulator), {"answer": "refuse"})
        assert back["error"] == "access_denied"
        assert back["state"] == "the state"
        assert "code" not in back


@pytest.mark.parametrize(("choice", "name"), [(ACCEPT, "code"), ({"answer": "refuse"}, "error")])
def test_an_app_may_receive_the_response_as_a_form_post(
    choice: dict[str, str], name: str, connect: SignIn
) -> None:
    """No address contains a code then."""
    with Emulator(SMALL) as emulator:
        address = _authorize(emulator, response_mode="form_post", state='a"<b>')
        page = connect(emulator).post(address, data=choice, allow_redirects=False)
        assert page.status_code == 200
        assert f'<form method="post" action="{REDIRECT}">' in page.text
        assert f'name="{name}"' in page.text
        assert 'name="state" value="a&quot;&lt;b&gt;"' in page.text


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"client_id": "another"}, 700016),
        ({"redirect_uri": "http://example.org:8400"}, 50011),
        ({"redirect_uri": "https://localhost:8400"}, 50011),
        ({"response_type": "token"}, 700054),
        ({"scope": ""}, 900144),
    ],
)
def test_an_app_with_an_invalid_request_gets_no_redirect(
    changes: dict[str, str], number: int, connect: SignIn
) -> None:
    """The user sees why; nothing is sent to an unregistered address."""
    with Emulator(SMALL) as emulator:
        response = connect(emulator).post(_authorize(emulator, **changes), data=ACCEPT)
        assert response.status_code == 200
        assert f"AADSTS{number}" in response.text


@pytest.mark.parametrize(
    ("changes", "seconds", "number"),
    [
        ({"code": "1.nonsense"}, 0, 70000),
        ({"code_verifier": "w" * 43}, 0, 501481),
        ({"code_verifier": ""}, 0, 501481),
        ({"redirect_uri": "http://localhost:8401"}, 0, 500112),
        ({"client_secret": "wrong"}, 0, 7000215),
        ({}, 601, 70008),
    ],
)
def test_a_code_belongs_to_the_client_that_requested_it(
    changes: dict[str, str], seconds: int, number: int, connect: SignIn
) -> None:
    """Secret, verifier and address must match, within ten minutes; an error does not use it up."""
    now = [1_800_000_000.0]
    with Emulator(SMALL, clock=lambda: now[0]) as emulator:
        client = connect(emulator)
        code = _answered(client, _authorize(emulator), ACCEPT)["code"]
        now[0] += seconds
        form = _code_form(emulator, code) | {"scope": SCOPE} | changes
        document = client.post(_path(emulator, "token"), data=form).json()
        assert document["error_codes"] == [number]
        now[0] -= seconds
        form = _code_form(emulator, code)
        assert client.post(_path(emulator, "token"), data=form).status_code == 200
        document = client.post(_path(emulator, "token"), data=form).json()
        assert document["error_codes"] == [54005]


def _begin(emulator: Emulator, client: requests.Session) -> tuple[dict[str, Any], dict[str, str]]:
    """Request a device code; return it with the form that redeems it."""
    form = {"client_id": emulator.credentials.client_id, "scope": SCOPE}
    flow = client.post(_path(emulator, "devicecode"), data=form).json()
    poll = {"grant_type": DEVICE_GRANT, "device_code": flow["device_code"], **form}
    return flow, {name: text for name, text in poll.items() if name != "scope"}


def test_a_device_code_waits_for_its_user(connect: SignIn) -> None:
    """Pending until the page is answered; then valid once. Its tokens are a public client's."""
    with Emulator(SMALL) as emulator:
        client = connect(emulator)
        flow, poll = _begin(emulator, client)
        assert flow["user_code"] in flow["message"]
        assert (flow["interval"], flow["expires_in"]) == (5, 900)
        pending = client.post(_path(emulator, "token"), data=poll)
        assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
        assert "user_code" in client.get(flow["verification_uri"]).text
        wrong = client.post(flow["verification_uri"], data=ACCEPT | {"user_code": "NOSUCH"})
        assert "That code did not work" in wrong.text
        typed = {"user_code": f" {flow['user_code'].lower()} "}
        assert "signed in" in client.post(flow["verification_uri"], data=ACCEPT | typed).text
        document = client.post(_path(emulator, "token"), data=poll).json()
        assert "id_token" in document
        again = client.post(_path(emulator, "token"), data=poll).json()
        assert again["error"] == "bad_verification_code"
        form = {
            "grant_type": "refresh_token",
            "client_id": emulator.credentials.client_id,
            "refresh_token": document["refresh_token"],
            "scope": SCOPE,
        }
        secret = {"client_secret": emulator.credentials.client_secret}
        refused = client.post(_path(emulator, "token"), data=form | secret).json()
        assert refused["error_codes"] == [700025]
        assert client.post(_path(emulator, "token"), data=form).status_code == 200


@pytest.mark.parametrize(
    ("seconds", "error"), [(0, "authorization_declined"), (901, "expired_token")]
)
def test_a_device_code_may_fail(seconds: int, error: str, connect: SignIn) -> None:
    """The user declines, or does nothing."""
    now = [1_800_000_000.0]
    with Emulator(SMALL, clock=lambda: now[0]) as emulator:
        client = connect(emulator)
        flow, poll = _begin(emulator, client)
        now[0] += seconds
        form = {"user_code": flow["user_code"], "answer": "refuse"}
        received = client.post(flow["verification_uri"], data=form).text
        assert ("did not work" if seconds else "declined") in received
        assert client.post(_path(emulator, "token"), data=poll).json()["error"] == error


def test_the_endpoints_refuse_invalid_requests(connect: SignIn) -> None:
    """Another tenant, another app, another method, a wrong secret with a device code."""
    with Emulator(SMALL) as emulator:
        client = connect(emulator)
        foreign = _authorize(emulator).replace(emulator.credentials.tenant_id, "contoso.example")
        assert client.get(foreign).json()["error_codes"] == [90002]
        assert client.get(_path(emulator, "devicecode")).status_code == 405
        form = {"client_id": "another", "scope": SCOPE}
        response = client.post(_path(emulator, "devicecode"), data=form)
        assert response.json()["error_codes"] == [700016]
        _, poll = _begin(emulator, client)
        wrong = client.post(_path(emulator, "token"), data=poll | {"client_secret": "wrong"})
        assert wrong.json()["error_codes"] == [7000215]
        emulator.faults = [Fault(place="devicecode", status=400, code=7000218)]
        response = client.post(_path(emulator, "devicecode"), data=form)
        assert response.json()["error"] == "invalid_client"


# Certificates


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "emulated app")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


@pytest.fixture
def assertion(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> Callable[..., dict[str, str]]:
    """Return a function that creates the form of a client that signs; changes replace claims."""

    def make(
        emulator: Emulator, signed_by: rsa.RSAPrivateKey = key, x5t: str = "", **changes: Any
    ) -> dict[str, str]:
        digest = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256()))
        client_id, now = emulator.credentials.client_id, int(datetime.now(UTC).timestamp())
        claims = {
            "aud": emulator.url + _path(emulator, "token"),
            "iss": client_id,
            "sub": client_id,
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + 600,
        } | changes
        header = {"x5t#S256": x5t or digest.rstrip(b"=").decode()}
        return {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, signed_by, "RS256", header),
            "scope": "https://api.partnercenter.microsoft.com/.default",
        }

    return make


@pytest.fixture
def with_certificate(certificate: x509.Certificate) -> Credentials:
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Credentials(certificate=pem)


def test_an_assertion_is_accepted_once(
    connect: SignIn, assertion: Callable[..., dict[str, str]], with_certificate: Credentials
) -> None:
    """The next one needs its own id."""
    with Emulator(SMALL, credentials=with_certificate) as emulator:
        client, form = connect(emulator), assertion(emulator)
        assert client.post(_path(emulator, "token"), data=form).status_code == 200
        again = client.post(_path(emulator, "token"), data=form)
        assert (again.status_code, again.json()["error_codes"]) == (401, [50027])
        form = assertion(emulator)
        assert client.post(_path(emulator, "token"), data=form).status_code == 200


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"aud": "https://login.example/another/oauth2/v2.0/token"}, 700023),
        ({"iss": "another"}, 700021),
        ({"sub": "another"}, 700021),
        ({"exp": 1_700_000_000}, 700024),
        ({"nbf": 4_000_000_000}, 700024),
        ({"jti": None}, 50027),
        ({"x5t": "another"}, 700027),
        ({"signed_by": rsa.generate_private_key(public_exponent=65537, key_size=2048)}, 700027),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_assertion_is_checked(
    changes: dict[str, Any],
    number: int,
    connect: SignIn,
    assertion: Callable[..., dict[str, str]],
    with_certificate: Credentials,
) -> None:
    """Audience, issuer, validity, id, and the registered certificate."""
    with Emulator(SMALL, credentials=with_certificate) as emulator:
        form = assertion(emulator, **changes)
        response = connect(emulator).post(_path(emulator, "token"), data=form)
        assert (response.status_code, response.json()["error_codes"]) == (401, [number])


def test_an_invalid_assertion_is_refused(
    connect: SignIn, assertion: Callable[..., dict[str, str]], with_certificate: Credentials
) -> None:
    """Neither garbage, nor an assertion if no certificate is registered."""
    with Emulator(SMALL, credentials=with_certificate) as emulator:
        form = assertion(emulator) | {"client_assertion": json.dumps({"alg": "none"})}
        response = connect(emulator).post(_path(emulator, "token"), data=form)
        assert response.json()["error_codes"] == [50027]
    with Emulator(SMALL) as emulator:
        response = connect(emulator).post(_path(emulator, "token"), data=assertion(emulator))
        assert response.json()["error_codes"] == [700027]
