"""No secret and no personal name in any log, state or error, under any fault or log level."""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partnercenter_emulator import Credentials, Emulator, Fault, Options
from tap_partnercenter.login import Login, main
from tests import certificates
from tests.command_line import FINAL, QuickClock, Result, run_tap
from tests.conftest import KEY
from tests.failures import API, PLACES, sampled
from tests.truth import last_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Start, Sync

CLIENT_SECRET = "Cl1ent~Secret.planted"  # noqa: S105 - planted
REFRESH_TOKEN = "0.RefreshTokenPlanted_1"  # noqa: S105 - planted
ROTATED = "0.RotatedTokenPlanted_2"
ACCESS_TOKEN = "eyJ0.AccessTokenPlanted"  # noqa: S105 - planted
PASSWORD = "Passw0rdPlanted"  # noqa: S105 - planted
COMPANY = "Fabrikam"
MAIL = "ada@fabrikam.example"
CERTIFICATE = certificates.certificate()
SECRETS = [CLIENT_SECRET, REFRESH_TOKEN, ROTATED, ACCESS_TOKEN, PASSWORD]
NAMES = [COMPANY, MAIL]
TOLD = f"{MAIL} of {COMPANY} used {CLIENT_SECRET}, {REFRESH_TOKEN}, {ACCESS_TOKEN}, {PASSWORD}"

HEADERS = {
    "MS-CV": f"{COMPANY}.{PASSWORD}",
    "MS-ServerId": COMPANY,
    "MS-RequestId": COMPANY,
    "MS-CorrelationId": MAIL,
    "WWW-Authenticate": f'Bearer error="{MAIL}", error_description="{TOLD}"',
    "Set-Cookie": f"session={ACCESS_TOKEN}",
    "X-Company": TOLD,
}
ERROR = {"code": COMPANY, "description": TOLD, "message": TOLD, "data": [TOLD], "source": MAIL}
SIGN_IN = {
    "error": COMPANY,
    "error_description": TOLD,
    "error_codes": [COMPANY],
    "trace_id": MAIL,
    "correlation_id": MAIL,
}
RECORD = {
    "id": "3f8e1c52-0d4b-4a67-9c1e-5b2f7a9d6e80",
    "companyProfile": {"companyName": COMPANY, "email": MAIL},
    "userCredentials": {"userName": MAIL, "password": PASSWORD},
    "tags": [{"userCredentials": {"password": PASSWORD}}],
}


def collection(**more: object) -> dict[str, Any]:
    return {"totalCount": 1, "items": [RECORD], **more}


def linked(uri: str, **header: object) -> dict[str, Any]:
    return collection(links={"next": {"uri": uri, "headers": [header] if header else []}})


#: Answers of every kind with content that must not be logged.
ANSWERS: dict[str, dict[str, Any]] = {
    "error": {"json": ERROR},
    "sign-in error": {"json": SIGN_IN},
    "error with a secret for a code": {"json": {"code": PASSWORD, "error": PASSWORD}},
    "text": {"body": TOLD.encode()},
    "cut JSON": {"body": json.dumps(collection()).encode()[:-3]},
    "not UTF-8": {"body": TOLD.encode("utf-16")},
    "a list": {"json": [TOLD]},
    "a string": {"json": TOLD},
    "no collection": {"json": {TOLD: TOLD}},
    "items no list": {"json": {"items": {TOLD: RECORD}}},
    "item no object": {"json": {"items": [TOLD]}},
    "no id": {"json": collection(items=[{**RECORD, "id": None}])},
    "odd id": {"json": collection(items=[{**RECORD, "id": f"{MAIL}/{COMPANY}"}])},
    "unknown field": {"json": collection(items=[{**RECORD, TOLD: 1, MAIL: 2}])},
    "link elsewhere": {"json": linked(f"https://{COMPANY}.example/{PASSWORD}?{TOLD}")},
    "odd link": {"json": linked(TOLD)},
    "odd header": {"json": linked("/customers", key="X", value=f"{TOLD}\r\n{TOLD}")},
    "own header": {"json": linked("/customers", key="Authorization", value=TOLD)},
    "odd token": {"json": collection(continuationToken=[TOLD])},
    "odd links": {"json": collection(links=TOLD)},
    "redirect": {"redirect": f"https://{COMPANY}.example/?x={quote(TOLD)}"},
    "access token": {"json": {"access_token": f"{ACCESS_TOKEN}\n", "refresh_token": ROTATED}},
}


def forms(secret: str) -> list[str]:
    """A secret as encoded in a form, a header or a log."""
    return [secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode().rstrip("=")]


def assert_discreet(result: Result) -> None:
    """Check that nothing planted is logged; only records may contain names."""
    state = json.dumps(last_state(result.stdout.splitlines()))
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in result.stderr
            assert form not in result.stdout
    for name in NAMES:
        assert name.lower() not in result.stderr.lower()
        assert name.lower() not in state.lower()


@contextmanager
def planted(*faults: Fault, **options: Any) -> Iterator[Emulator]:
    """An emulator with known credentials to search for."""
    credentials = Credentials(client_secret=CLIENT_SECRET, refresh_token=REFRESH_TOKEN)
    sizes = {"customers": 8, "resellers": 1, **options}
    with Emulator(Options(**sizes), faults=faults, credentials=credentials) as emulator:
        yield emulator


def run(emulator: Emulator, level: str, *arguments: str, **more: Any) -> Result:
    config = {**emulator.tap_config(), "page_size": 3, "max_retry_seconds": 5, **more}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAP_PARTNERCENTER_LOGLEVEL", level)
        return run_tap(*arguments, config=config)


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(("answer", "place"), sampled(ANSWERS, API, always=["token"]))
def test_no_answer_is_repeated(place: Any, answer: str, status: int) -> None:
    """As a 200 and as an error, in bodies and headers: none of it is in log, error or state."""
    action = ANSWERS[answer] if answer == "redirect" else {**ANSWERS[answer], "status": status}
    with planted(Fault(place=place, headers=HEADERS, **action)) as emulator:
        assert_discreet(run(emulator, "DEBUG"))


@settings(
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(PLACES),
    st.sampled_from(sorted(ANSWERS)),
    st.sampled_from([200, 202, 302, 400, 401, 403, 404, 408, 410, 429, 500, 501, 503]),
    st.integers(0, 4),
    st.none() | st.integers(1, 3),
    st.sampled_from(["none", "all"]),
    st.sampled_from([(), ("--test",)]),
)
def test_no_fault_makes_the_tap_talk(  # noqa: PLR0913, PLR0917 - what is drawn
    place: Any,
    answer: str,
    status: int,
    skip: int,
    times: int | None,
    bom: str,
    arguments: tuple[str, ...],
) -> None:
    """Any answer with any status, sooner or later, once or forever."""
    action = (
        ANSWERS[answer] if "redirect" in ANSWERS[answer] else {**ANSWERS[answer], "status": status}
    )
    fault = Fault(place=place, skip=skip, times=times, headers=HEADERS, **action)
    with planted(fault, bom=bom, mfa="header" if times == 3 else "none") as emulator:
        result = run(emulator, "DEBUG", *arguments)
        assert_discreet(result)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_healthy_run_tells_no_secret(level: str) -> None:
    """The same applies to what works: requests, tokens, records."""
    with planted() as emulator:
        result = run(emulator, level)
        assert result.exit_code == 0
        names = [
            str(customer["companyProfile"]["companyName"]) for customer in emulator.customers()
        ]
    assert_discreet(result)
    for name in names:
        assert name not in result.stderr
        assert name in result.stdout
    assert ("DEBUG" in result.stderr) == (level == "DEBUG")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK", b"HTTP/9.9 x " + TOLD.encode()])
def test_a_server_that_speaks_no_http_is_not_quoted(
    answer: bytes,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Malformed header lines, and text in place of a status line."""
    told = (
        answer + b"\r\n" + TOLD.encode() + b"\r\n : " + TOLD.encode() + b"\r\n\r\n" + TOLD.encode()
    )
    with socket.create_server(("127.0.0.1", 0)) as server, planted() as emulator:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(told)

        threading.Thread(target=serve, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = run(emulator, "DEBUG", api_url=address)
        assert result.exit_code == 1
        assert_discreet(result)
        assert_discreet(run(emulator, "DEBUG", auth_url=address))
        server.shutdown(socket.SHUT_RDWR)
    printed = capfd.readouterr()
    assert COMPANY not in printed.err


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_an_unforeseen_failure_tells_its_kind_only(
    level: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream map that fails on a record: one line, with no record in the traceback either."""
    monkeypatch.setenv("SOME_OTHER", TOLD)
    maps = {"customers": {"x": "int(companyProfile['companyName'])"}}
    with planted() as emulator:
        names = [
            str(customer["companyProfile"]["companyName"]) for customer in emulator.customers()
        ]
        result = run(emulator, level, stream_maps=maps)
    assert result.exit_code == 1
    assert_discreet(result)
    for name in names:
        assert name not in result.stderr
    assert ("Traceback" in result.stderr) == (level == "DEBUG")


# Settings

WRONG = [
    CLIENT_SECRET,
    5,
    1.5,
    True,
    [CLIENT_SECRET],
    {"a": CLIENT_SECRET},
    "",
    None,
    f"\n{PASSWORD}",
]


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "refresh_token",
        "client_id",
        "tenant_id",
        "user_agent",
        "cloud",
        "page_size",
        "request_timeout",
        "reseller_ids",
        "emit_activate_version_messages",
        "client_certificate_password",
        "token_cache_key",
    ],
)
def test_wrong_settings_are_named_and_not_repeated(name: str) -> None:
    """A secret given as a list, an object or a number, or for another setting."""
    with planted() as emulator:
        for value in [*WRONG, {"userCredentials": PASSWORD}, [REFRESH_TOKEN]]:
            result = run(emulator, "DEBUG", **{name: value})
            assert PASSWORD not in result.stderr
            assert REFRESH_TOKEN not in result.stderr
            assert CLIENT_SECRET not in result.stderr
            assert "Unexpected" not in result.stderr


@pytest.mark.parametrize("value", [["a", PASSWORD], {"a": PASSWORD}, 12345678901, True])
@pytest.mark.parametrize(
    "name",
    [
        "client_certificate_password",
        "client_secret",
        "refresh_token",
        "token_cache_key",
        "token_cache_path",
    ],
)
def test_a_secret_of_another_kind_is_told_by_name(name: str, value: object) -> None:
    """The line names the setting but does not quote its value."""
    with planted() as emulator:
        result = run(emulator, "DEBUG", **{name: value})
        assert result.exit_code == FINAL
        (line,) = result.levels("ERROR")
        assert line.startswith(f"{name} must be text")
        assert "12345678901" not in result.stderr
        assert PASSWORD not in result.stderr
        assert emulator.stats().requests == 0


BROKEN = [
    '{"client_secret": "%s", ',
    '["%s"]',
    '"%s"',
    "%s",
    '{"client_secret": "%s"}',
    '{"client_secret": ["%s"]}',
    '{"%s": 1}',
]


@pytest.mark.parametrize("option", ["--config", "--state", "--catalog"])
@pytest.mark.parametrize(("content", "level"), sampled(BROKEN, ["DEBUG", "INFO"]))
def test_a_broken_file_is_not_quoted(
    level: str,
    option: str,
    content: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Configuration, state and catalog files that are truncated or hold something else."""
    monkeypatch.setenv("TAP_PARTNERCENTER_LOGLEVEL", level)
    path = tmp_path / "file.json"
    path.write_text(content % PASSWORD, encoding="utf-8")
    with planted() as emulator:
        config = None if option == "--config" else emulator.tap_config()
        result = run_tap(option, str(path), config=config)
    if content != '{"%s": 1}':
        assert PASSWORD not in result.stderr
    assert "Traceback" not in result.stderr or level == "DEBUG"


def test_about_shows_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tap's description of itself does not depend on its settings."""
    with planted() as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        for form in ("json", "markdown"):
            result = run_tap("--about", f"--format={form}", "--config=ENV")
            assert result.exit_code == 0
            assert "client_secret" in result.stdout
            assert_discreet_text(result.stdout + result.stderr)


def assert_discreet_text(text: str) -> None:
    for secret in SECRETS:
        for form in forms(secret):
            assert form not in text


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_process_of_its_own_is_as_discreet(level: str) -> None:
    """The same for a real command, with settings in the environment: output and log."""
    with planted(
        Fault(place="partition", status=500, shape="A", description=TOLD),
    ) as emulator:
        environment = {
            **os.environ,
            **emulator.environment(),
            "TAP_PARTNERCENTER_LOGLEVEL": level,
            "TAP_PARTNERCENTER_MAX_RETRY_SECONDS": "0",
        }
        ended = subprocess.run(
            [sys.executable, "-m", "tap_partnercenter", "--config=ENV"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 1
    assert_discreet(Result(ended.returncode, ended.stdout, ended.stderr))


def test_the_token_cache_is_not_told(start: Start, sync: Sync, tmp_path: Path) -> None:
    """A file that is not a cache: the log has its path, not its content."""
    cache = tmp_path / "cache"
    cache.touch(mode=0o600)
    cache.write_text(f'{{"refresh_token": "{ROTATED}", "origin": ')
    result = sync(start(), token_cache_path=str(cache))
    assert result.exit_code == 1
    assert ROTATED not in result.stderr


def test_no_token_cache_lies_in_the_checkout() -> None:
    """A manual run once left one there, and it was committed."""
    files = [path for path in Path(__file__).parent.parent.iterdir() if path.is_file()]
    assert len(files) > 5
    assert [path.name for path in files if b'{"origin": "' in path.read_bytes()] == []


# The sign-in

DEVICE_CODE = "DeviceCodePlanted_3"
CODE = "AuthorizationCodePlanted_4"


class Echo:
    """A sign-in service that echoes everything it is sent."""

    def __init__(self, **answer: Any) -> None:
        """Answer each token request with this; `TOLD` stands for the request's content."""
        self.answer = json.dumps(answer)
        self.received: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
                echo.received.append({k: v[0] for k, v in parse_qs(sent).items()})
                status, text = 400, echo.answer.replace("TOLD", sent)
                if self.path.endswith("/devicecode"):
                    status, text = 200, json.dumps(DEVICE)
                elif "access_token" in text:
                    status = 200
                self.send_response(status)
                for name, value in {"Content-Length": len(text), "X-Sent": sent}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def secrets(self) -> set[str]:
        """The secrets that were sent and must not be logged."""
        names = {
            *("assertion", "client_assertion", "client_secret", "code", "code_verifier"),
            *("device_code", "refresh_token"),
        }
        return {form[name] for form in self.received for name in names & form.keys()}


DEVICE = {
    "device_code": DEVICE_CODE,
    "user_code": "SHOWN",
    "verification_uri": "http://127.0.0.1/device",
    "interval": 1,
    "expires_in": 900,
}
ENDINGS: dict[str, dict[str, Any]] = {
    "refused": {"error": "invalid_grant", "error_description": "TOLD", "error_codes": [70000]},
    "refused in odd words": {"error": "TOLD", "error_description": "TOLD", "error_codes": ["TOLD"]},
    "no answer to it": {"TOLD": "TOLD"},
    "no refresh token": {"access_token": ACCESS_TOKEN, "error_description": "TOLD"},
    "odd token": {"access_token": ["TOLD"], "refresh_token": ["TOLD"]},
    "signed in": {"access_token": ACCESS_TOKEN, "refresh_token": ROTATED, "id_token": "TOLD"},
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("device", [False, True])
def test_a_login_tells_no_code(
    device: bool,  # noqa: FBT001
    ending: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Authorization code, PKCE verifier, device code, secret, tokens: in no output, log or page."""
    caplog.set_level(logging.DEBUG)
    pages: list[requests.Response] = []

    def browse(address: str) -> bool:
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        form = {"code": CODE, "state": query["state"]}

        def answer() -> None:
            pages.append(requests.post(query["redirect_uri"], form, timeout=10))

        threading.Thread(target=answer).start()
        return True

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr(Login, "clock_class", QuickClock)
    path = tmp_path / "config.json"
    with planted() as emulator, Echo(**ENDINGS[ending]) as echo:
        config = emulator.tap_config(app_only=True)
        config |= {"auth_url": echo.url, "token_cache_path": str(tmp_path / "tokens")}
        path.write_text(json.dumps({**config, "token_cache_key": KEY, "max_retry_seconds": 1}))
        arguments = ["--config", str(path), "--timeout", "10", "--port", "0"]
        result = CliRunner().invoke(main, [*arguments, *(["--device-code"] if device else [])])
    asked = echo.received[-1 if ending != "signed in" else int(device)]
    assert (DEVICE_CODE if device else CODE) in asked.values()
    assert device or len(asked["code_verifier"]) > 40
    for text in (result.output, result.stderr, caplog.text, *(page.text for page in pages)):
        assert_discreet_text(text)
        for secret in {KEY, DEVICE_CODE, CODE, *echo.secrets}:
            assert secret not in text
    if (tmp_path / "tokens").exists():
        assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
        assert ROTATED.encode() not in (tmp_path / "tokens").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_refused_certificate_tells_neither_assertion_nor_password(
    ending: str, tmp_path: Path
) -> None:
    """Nor the key of the store, nor the token in it."""
    (tmp_path / "app.pem").write_bytes(certificates.pem(CERTIFICATE, password=PASSWORD))
    more = {
        "client_certificate_path": str(tmp_path / "app.pem"),
        "client_certificate_password": PASSWORD,
        "token_cache_path": str(tmp_path / "tokens"),
        "token_cache_key": KEY,
    }
    with planted() as emulator, Echo(**ENDINGS[ending]) as echo:
        result = run(emulator, "DEBUG", auth_url=echo.url, **more)
    assert result.exit_code == (FINAL if ending == "refused" else 1)
    assert_discreet(result)
    assert any("client_assertion" in form for form in echo.received)
    for secret in {KEY, *echo.secrets}:
        assert secret not in result.stderr
