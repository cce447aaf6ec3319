"""The token endpoints, and the API's handling of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Credentials, Emulator, Options

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn, TokenForm

SMALL = Options(customers=3, resellers=1)
GLOBAL = "https://api.partnercenter.microsoft.com"
CHINA = "https://partner.partnercenterapi.microsoftonline.cn"
GRAPH = "https://graph.windows.net"


def _path(emulator: Emulator, version: str = "v2.0/") -> str:
    return f"/{emulator.credentials.tenant_id}/oauth2/{version}token"


def _v1(form: dict[str, str], resource: str = GLOBAL) -> dict[str, str]:
    return form | {"scope": "openid", "resource": resource}


@pytest.mark.parametrize(
    ("changes", "has_refresh_token"),
    [({}, True), ({"scope": f"{GLOBAL}/.default"}, False), ({"app_only": True}, False)],
    ids=["offline", "online", "app-only"],
)
def test_version_2_answers_with_integers(
    *, changes: dict[str, Any], has_refresh_token: bool, connect: SignIn, token_form: TokenForm
) -> None:
    """The lifetime is a number; only App+User gets a refresh token, and only if it asks for it."""
    with Emulator(SMALL) as emulator:
        form = token_form(emulator, **changes)
        document = connect(emulator).post(_path(emulator), data=form).json()
        assert (document["expires_in"], document["token_type"]) == (3599, "Bearer")
        assert ("refresh_token" in document) is has_refresh_token


def test_version_1_answers_with_strings(connect: SignIn, token_form: TokenForm) -> None:
    """Lifetime and expiry are text, and the resource is included."""
    now = 1_800_000_000.25
    with Emulator(SMALL, clock=lambda: now) as emulator:
        form = _v1(token_form(emulator))
        document = connect(emulator).post(_path(emulator, ""), data=form).json()
        assert document["expires_in"] == "3599"
        assert document["expires_on"] == "1800003599"
        assert document["resource"] == GLOBAL


@pytest.mark.parametrize(
    "scope",
    [
        f"{GLOBAL}/.default",
        f"{GLOBAL}/user_impersonation",
        f"{GLOBAL}/.default offline_access openid",
        f"openid {CHINA}/user_impersonation",
    ],
)
def test_the_documented_scopes_are_granted(scope: str, sign_in: SignIn) -> None:
    """Either permission, either cloud, with or without companions."""
    with Emulator(SMALL) as emulator:
        assert sign_in(emulator, scope=scope).get("/v1/customers").status_code == 200


def test_the_partners_domain_names_the_tenant_too(connect: SignIn, token_form: TokenForm) -> None:
    """A verified domain may replace the tenant's id, in any case."""
    with Emulator(SMALL) as emulator:
        path = "/Emulated-Partner.onmicrosoft.com/oauth2/v2.0/token"
        assert connect(emulator).post(path, data=token_form(emulator)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "error", "number"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": "other"}, 400, "unauthorized_client", 700016),
        ({"refresh_token": "0.nonsense"}, 400, "invalid_grant", 70000),
        ({"scope": "https://example.org/.default"}, 400, "invalid_resource", 500011),
        ({"scope": GLOBAL}, 400, "invalid_scope", 70011),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        (
            {"grant_type": "client_credentials", "scope": f"{GLOBAL}/user_impersonation"},
            400, "invalid_scope", 1002012,
        ),
        ({"grant_type": ""}, 400, "invalid_request", 900144),
        ({"client_secret": ""}, 401, "invalid_client", 7000218),
        ({"scope": ""}, 400, "invalid_request", 900144),
    ],
)  # fmt: skip
def test_a_refusal_has_the_shape_of_entra(  # noqa: PLR0913, PLR0917
    changes: dict[str, str],
    status: int,
    error: str,
    number: int,
    connect: SignIn,
    token_form: TokenForm,
) -> None:
    """Error, number, description and the ids needed for support."""
    with Emulator(SMALL) as emulator:
        response = connect(emulator).post(_path(emulator), data=token_form(emulator, **changes))
        document = response.json()
        assert (response.status_code, document["error"]) == (status, error)
        assert document["error_codes"] == [number]
        assert document["error_description"].startswith(f"AADSTS{number}: ")
        assert {"timestamp", "trace_id", "correlation_id", "error_uri"} < set(document)


def test_version_1_refuses_an_unknown_resource(connect: SignIn, token_form: TokenForm) -> None:
    """The same number as for an unknown scope."""
    with Emulator(SMALL) as emulator:
        form = _v1(token_form(emulator), "https://example.org")
        document = connect(emulator).post(_path(emulator, ""), data=form).json()
        assert document["error_codes"] == [500011]


def test_an_unknown_tenant_and_a_wrong_method_are_refused(
    connect: SignIn, token_form: TokenForm
) -> None:
    """Both in the shape of Entra."""
    with Emulator(SMALL) as emulator:
        client = connect(emulator)
        response = client.post("/contoso.example/oauth2/v2.0/token", data=token_form(emulator))
        assert (response.status_code, response.json()["error_codes"]) == (400, [90002])
        assert client.get(_path(emulator)).status_code == 405


def test_each_redemption_gives_a_new_refresh_token(connect: SignIn, token_form: TokenForm) -> None:
    """The new one works, and the old one still does."""
    with Emulator(SMALL) as emulator:
        client, form = connect(emulator), token_form(emulator)
        first = client.post(_path(emulator), data=form).json()["refresh_token"]
        second = client.post(_path(emulator), data=form | {"refresh_token": first})
        assert second.status_code == 200
        assert len({form["refresh_token"], first, second.json()["refresh_token"]}) == 3
        assert client.post(_path(emulator), data=form).status_code == 200


def test_old_refresh_tokens_may_be_revoked(connect: SignIn, token_form: TokenForm) -> None:
    """With the option, a redeemed token is refused from then on."""
    with Emulator(Options(customers=1, revoke_old_refresh_tokens=True)) as emulator:
        client, form = connect(emulator), token_form(emulator)
        first = client.post(_path(emulator), data=form).json()["refresh_token"]
        again = client.post(_path(emulator), data=form)
        assert (again.status_code, again.json()["error_codes"]) == (400, [50173])
        newest = form | {"refresh_token": first}
        assert client.post(_path(emulator), data=newest).status_code == 200


def test_a_refresh_token_expires_after_90_days(connect: SignIn, token_form: TokenForm) -> None:
    """Inactivity ends it."""
    now = [1_800_000_000.0]
    with Emulator(SMALL, clock=lambda: now[0]) as emulator:
        client, form = connect(emulator), token_form(emulator)
        now[0] += 90 * 86_400
        assert client.post(_path(emulator), data=form).status_code == 200
        now[0] += 1
        response = client.post(_path(emulator), data=form)
        assert (response.status_code, response.json()["error_codes"]) == (400, [700082])


@pytest.mark.parametrize(("early", "life"), [(0, 3599), (3000, 599)])
def test_an_access_token_expires_on_time(early: int, life: int, sign_in: SignIn) -> None:
    """It may expire before the stated time."""
    now = [1_800_000_000.0]
    with Emulator(Options(customers=1, early_expiry=early), clock=lambda: now[0]) as emulator:
        client = sign_in(emulator)
        now[0] += life - 1
        assert client.get("/v1/customers").status_code == 200
        now[0] += 1
        response = client.get("/v1/customers")
        assert (response.status_code, response.json()["code"]) == (401, 400)


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic abc", "Bearer"])
def test_the_api_requires_a_token(header: str | None, connect: SignIn) -> None:
    """No token, a foreign one and another scheme are all refused."""
    with Emulator(SMALL) as emulator:
        headers = {} if header is None else {"Authorization": header}
        response = connect(emulator).get("/v1/customers", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, 400)


def test_the_retired_audience_is_refused_by_the_api(sign_in: SignIn) -> None:
    """The token is issued, but the API answers 401 with the code as text."""
    with Emulator(SMALL) as emulator:
        response = sign_in(emulator, scope=f"{GRAPH}/.default").get("/v1/customers")
        assert (response.status_code, response.json()["code"]) == (401, "900420")


def test_missing_mfa_is_refused_in_both_forms(sign_in: SignIn) -> None:
    """Old: a challenge without body; new: a code. App-only is not affected."""
    with Emulator(Options(customers=1, mfa="header")) as emulator:
        client, app_only = sign_in(emulator), sign_in(emulator, app_only=True)
        response = client.get("/v1/customers")
        assert (response.status_code, response.content) == (401, b"")
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
        emulator.configure(mfa="code")
        response = client.get("/v1/customers")
        assert (response.status_code, response.json()["code"]) == (401, "900421")
        assert app_only.get("/v1/customers").status_code == 200


def test_secrets_are_new_for_each_emulator_and_stay_out_of_its_text() -> None:
    """Two emulators with one seed share ids but no secret."""
    first, second = Credentials(), Credentials()
    assert first.tenant_id == second.tenant_id
    assert first.client_secret != second.client_secret
    assert first.refresh_token != second.refresh_token
    assert first.client_secret not in repr(first)
    assert first.refresh_token not in repr(first)


def test_app_only_tokens_are_refused_with_the_configured_code(sign_in: SignIn) -> None:
    """Or accepted, as by a service that allows some of the requests."""
    path = "/v1/relationships?relationship_type=IsIndirectCloudSolutionProviderOf"
    with Emulator(Options(customers=1)) as emulator:
        client = sign_in(emulator, app_only=True)
        for code, status in ((900150, 403), (0, 200)):
            emulator.configure(app_only_code=code)
            response = client.get(path)
            assert (response.status_code, response.json().get("code", 0)) == (status, code)
