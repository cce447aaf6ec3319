"""`tap-partnercenter-login`: consent, refusal, wrong state, timeout, device code, and the token.

These tests follow the pages over HTTP; `tests/test_browser.py` uses Chromium.
"""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
import requests
from click.testing import CliRunner

from partnercenter_emulator import Credentials, Fault
from tap_partnercenter import login
from tests import certificates
from tests.browser import Browser, Form, device
from tests.command_line import run_tap
from tests.login.conftest import config_of
from tests.truth import assert_complete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    from partnercenter_emulator import Emulator
    from tests.conftest import Start


def assert_no_secrets(result: Result, emulator: Emulator, browser: Browser, tmp_path: Path) -> None:
    """Check that no secret, code, verifier or token was printed or shown."""
    said = result.output + result.stderr + "".join(page.text for page in browser.pages)
    assert emulator.credentials.client_secret not in said
    stored = json.loads((tmp_path / "tokens").read_text())["tokens"].values()
    assert all(token["refresh_token"] not in said for token in stored)
    # Nor is any in the browser's history.
    assert "code=" not in "".join(page.url for page in browser.pages)
    assert "eyJ" not in said
    assert "verifier" not in said


def test_a_login_ends_with_a_tap_that_runs(
    start: Start, browser: Browser, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    """The permissions requested, who consented, until when, what works, and what to do next."""
    emulator = start(revoke_old_refresh_tokens=True)
    result = sign_in(emulator)
    assert result.exit_code == 0, result.output
    credentials = emulator.credentials
    query = {k: v[0] for k, v in parse_qs(urlsplit(browser.opened[0]).query).items()}
    assert (query["code_challenge_method"], query["response_mode"]) == ("S256", "form_post")
    assert "offline_access" in query["scope"].split()
    (page,) = browser.pages
    assert "Signed in to Partner Center" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    for reported in (
        f"The app {credentials.client_id} of the tenant {credentials.tenant_id} asks",
        "Signed in as ada.admin@emulated-partner.onmicrosoft.com of the tenant ",
        f"{credentials.tenant_id}, with MFA.",
        "The refresh token expires on 20",
        "customers               reachable, 7 rows on the first page",
        f"meltano config set tap-partnercenter token_cache_path {tmp_path / 'tokens'}",
        "meltano config set --store=dotenv tap-partnercenter client_secret …",
        "meltano invoke tap-partnercenter --test",
    ):
        assert reported in result.output
    assert_no_secrets(result, emulator, browser, tmp_path)
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        run = run_tap(config=config_of(emulator, tmp_path))
        assert_complete(run, emulator)
        assert run.levels("WARNING") == []


def test_a_login_without_mfa_says_so(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    browser.choice["mfa"] = None
    result = sign_in(start())
    assert result.exit_code == 1
    assert "Warning: signed in without MFA. Partner Center refuses such tokens" in result.output
    assert "code 900421: the token carries no proof of MFA" in result.output
    assert "Signed in, but without MFA" in browser.pages[0].text


def test_a_login_of_the_wrong_user_names_the_role(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    browser.choice["account"] = "sam.sales"
    result = sign_in(start())
    assert result.exit_code == 1
    assert "customers               reachable, 7 rows" in result.output
    assert "indirect_resellers      not reachable: HTTP 403, code 900150" in result.output
    assert "Give the consenting user the role Admin agent" in result.output


def test_a_refusal_is_reported_on_both_sides(
    start: Start, browser: Browser, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    browser.choice["answer"] = "refuse"
    result = sign_in(start())
    assert result.exit_code == 1
    assert "sign-in: refused: access_denied AADSTS65004. The user declined." in result.stderr
    assert "Not signed in" in browser.pages[0].text
    assert not (tmp_path / "tokens").exists()


def test_a_response_to_another_sign_in_is_ignored(
    start: Start, browser: Browser, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    """A foreign page could send its own code; the command keeps waiting until the timeout."""

    def back(form: Form) -> bool:
        form.fields["state"] = "another"
        return True

    browser.back = back
    emulator = start()
    result = sign_in(emulator, "--timeout", "1")
    assert result.exit_code == 1
    assert browser.pages[0].status_code == 400
    assert "belongs to another sign-in and was not used" in browser.pages[0].text
    assert "within 1 s. A response to another sign-in arrived." in result.stderr
    assert emulator.stats().by_place == {"authorize": {"200": 2}}
    assert not (tmp_path / "tokens").exists()


def test_a_response_is_accepted_once(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    """The listener also refuses other host names and other requests."""
    seen: list[int] = []

    def back(form: Form) -> bool:
        port = urlsplit(form.action).port
        for path, host in (("/favicon.ico", f"localhost:{port}"), ("/", "evil.example")):
            url = f"http://127.0.0.1:{port}{path}"
            answer = requests.post(url, form.fields, headers={"Host": host}, timeout=10)
            seen.append(answer.status_code)
        # As a query it is not accepted.
        seen.append(requests.get(form.action, form.fields, timeout=10).status_code)
        first = requests.post(form.action, form.fields, allow_redirects=False, timeout=10)
        seen.append(first.status_code)
        seen.append(requests.post(form.action, form.fields, timeout=10).status_code)
        requests.get(urljoin(form.action, first.headers["Location"]), timeout=10)
        return False

    browser.back = back
    result = sign_in(start())
    assert result.exit_code == 0
    assert seen == [404, 403, 404, 303, 400]


def test_a_closed_window_ends_in_a_timeout(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    browser.back = lambda _: False
    result = sign_in(start(), "--timeout", "1")
    assert result.exit_code == 1
    assert "no response from the browser within 1 s. Start again; if the" in result.stderr


def test_a_port_in_use_is_reported(start: Start, sign_in: Callable[..., Result]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = sign_in(start(), "--port", port)
        assert result.exit_code == 1
        assert f"Port {port} cannot be used (Address already in use)" in (result.stderr)
    assert "cannot be used (there is no such port)" in sign_in(start(), "--port", "99999").stderr


@pytest.mark.parametrize(
    ("fault", "reported"),
    [
        ({"status": 400, "code": 7000215}, "AADSTS7000215. The client secret is wrong"),
        ({"status": 400, "json": {"error": "new", "error_codes": []}}, "refused. Check tenant_id"),
        ({"status": 503}, "the token endpoint returned HTTP 503. Try again later."),
        ({"body": b"<html>"}, "the response does not belong to this sign-in."),
        ({"json": {"access_token": "x"}}, "the response contains no refresh_token."),
        ({"reset": True}, "no response from 127.0.0.1:"),
    ],
)
def test_a_code_that_cannot_be_redeemed_says_why(
    fault: dict[str, Any],
    reported: str,
    start: Start,
    browser: Browser,
    sign_in: Callable[..., Result],
) -> None:
    """In the terminal and in the browser, with the remedy from the table."""
    result = sign_in(start(Fault(place="token", **fault)))
    assert result.exit_code == 1
    assert reported in result.stderr
    assert "Not signed in" in browser.pages[0].text
    assert "Traceback" not in result.output


@pytest.mark.parametrize(("public", "certified"), [(False, False), (True, False), (True, True)])
def test_a_device_code_ends_with_a_tap_that_runs(  # noqa: PLR0913, PLR0917
    public: bool,  # noqa: FBT001
    certified: bool,  # noqa: FBT001
    start: Start,
    browser: Browser,
    sign_in: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The user answers elsewhere; a public app sends neither secret nor assertion there."""
    device(browser, monkeypatch)
    made = certificates.certificate()
    (tmp_path / "app.pem").write_bytes(certificates.pem(made))
    credentials = Credentials(certificate=certificates.public(made))
    emulator = start(credentials=credentials, device_interval=1)
    if public:
        emulator.faults = [Fault(place="token", times=1, status=401, code=700025)]
    path = str(tmp_path / "app.pem")
    settings = {"client_secret": None, "client_certificate_path": path} if certified else {}
    result = sign_in(emulator, "--device-code", **settings)
    assert result.exit_code == 0, result.output
    assert "have signed in on your device" in browser.pages[0].text
    assert "with MFA" in result.output
    config = config_of(emulator, tmp_path, **settings)
    given = {name: value for name, value in config.items() if value is not None}
    assert_complete(run_tap(config=given), emulator)


def test_a_declined_device_code_is_reported(
    start: Start, browser: Browser, sign_in: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.choice["answer"] = "refuse"
    device(browser, monkeypatch)
    result = sign_in(start(device_interval=1), "--device-code")
    assert result.exit_code == 1
    assert "refused: authorization_declined AADSTS70017. The user declined." in result.stderr


def test_a_certificate_signs_the_login(
    start: Start, browser: Browser, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    made = certificates.certificate()
    (tmp_path / "app.pem").write_bytes(certificates.pem(made))
    emulator = start(credentials=Credentials(certificate=certificates.public(made)))
    settings = {"client_secret": None, "client_certificate_path": str(tmp_path / "app.pem")}
    result = sign_in(emulator, **settings)
    assert result.exit_code == 0, result.output
    assert (
        "credentials             App+User, with a certificate that expires on 20" in result.output
    )
    assert browser.pages


def test_settings_come_from_flags_variables_the_file_and_prompts(
    start: Start, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; the prompt for the secret has no echo, and the token is stored."""
    emulator = start()
    config = emulator.tap_config()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TAP_PARTNERCENTER_API_URL", config["api_url"])
    monkeypatch.setenv("TAP_PARTNERCENTER_AUTH_URL", config["auth_url"])
    monkeypatch.setenv("TAP_PARTNERCENTER_TENANT_ID", "contoso.example")
    command = ["--tenant-id", config["tenant_id"], "--port", "0", "--no-browser", "--timeout", "1"]
    answers = f"{config['client_id']}\n{config['client_secret']}\n"
    result = CliRunner().invoke(login.main, command, input=answers)
    assert "Open this URL in a browser on this machine:" in result.output
    assert config["client_secret"] not in result.output
    assert config["tenant_id"] in result.output
    assert (tmp_path / ".tap-partnercenter").stat().st_mode & 0o777 == 0o700
    assert browser.opened == []
    result = CliRunner().invoke(login.main, command)
    assert result.exit_code == 1
    assert "client_id is missing: set TAP_PARTNERCENTER_CLIENT_ID" in result.stderr


@pytest.mark.parametrize(
    ("content", "exit_code", "reported"),
    [
        (None, 2, "config.json': No such file or directory"),
        ("[]", 2, "config.json: it does not contain a JSON object"),
        ("{", 2, "config.json: it does not contain a JSON object"),
        ('{"tenant_id": "x", "client_id": "x", "client_secret": "x"}', 1, "tenant_id must"),
    ],
)
def test_an_unusable_configuration_is_reported(
    content: str | None, exit_code: int, reported: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    settings = ["--config", str(path), "--token-cache-path", str(tmp_path / "tokens")]
    result = CliRunner().invoke(login.main, settings)
    assert result.exit_code == exit_code
    assert reported in result.stderr


def test_a_store_that_cannot_be_written_is_reported_after_the_sign_in(
    start: Start, browser: Browser, sign_in: Callable[..., Result], tmp_path: Path
) -> None:
    result = sign_in(start(), token_cache_path=str(tmp_path / "missing" / "tokens"))
    assert result.exit_code == 1
    assert "The token could not be stored in token_cache_path: No such file" in result.stderr
    assert "Not signed in" in browser.pages[0].text


def test_the_extra_of_the_login_is_named(
    start: Start, sign_in: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msal.oauth2cli", None)
    assert "install tap-partnercenter[login]" in sign_in(start()).stderr


def test_the_address_holds_nothing_secret(
    start: Start, browser: Browser, sign_in: Callable[..., Result]
) -> None:
    """It is in the process list while the browser starts."""
    emulator = start()
    sign_in(emulator)
    (address,) = browser.opened
    assert urlencode({"x": emulator.credentials.client_secret})[2:] not in address
    assert "code_verifier" not in address
