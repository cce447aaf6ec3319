"""No code, secret or token of a sign-in in any output, even if the service echoes them."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from click.testing import CliRunner

from tap_partnercenter.login import Login, main
from tests import certificates
from tests.command_line import FINAL, QuickClock
from tests.conftest import KEY
from tests.planted import (
    ACCESS_TOKEN,
    PASSWORD,
    ROTATED,
    assert_no_secrets,
    assert_no_secrets_in,
    planted,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

CERTIFICATE = certificates.certificate()

DEVICE_CODE = "DeviceCodePlanted_3"
CODE = "AuthorizationCodePlanted_4"


class Echo:
    """A sign-in service that echoes everything it is sent."""

    def __init__(self, **answer: Any) -> None:
        """Answer each token request with this; `LEAK` stands for the request's content."""
        self.answer = json.dumps(answer)
        self.received: list[dict[str, str]] = []

    def __enter__(self) -> Self:
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
                echo.received.append({k: v[0] for k, v in parse_qs(sent).items()})
                status, text = 400, echo.answer.replace("LEAK", sent)
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
    "refused": {"error": "invalid_grant", "error_description": "LEAK", "error_codes": [70000]},
    "refused in odd words": {"error": "LEAK", "error_description": "LEAK", "error_codes": ["LEAK"]},
    "no answer to it": {"LEAK": "LEAK"},
    "no refresh token": {"access_token": ACCESS_TOKEN, "error_description": "LEAK"},
    "odd token": {"access_token": ["LEAK"], "refresh_token": ["LEAK"]},
    "signed in": {"access_token": ACCESS_TOKEN, "refresh_token": ROTATED, "id_token": "LEAK"},
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("device", [False, True])
def test_a_login_reveals_no_code(
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
        assert_no_secrets_in(text)
        for secret in {KEY, DEVICE_CODE, CODE, *echo.secrets}:
            assert secret not in text
    if (tmp_path / "tokens").exists():
        assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
        assert ROTATED.encode() not in (tmp_path / "tokens").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_refused_certificate_reveals_neither_assertion_nor_password(
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
    assert_no_secrets(result)
    assert any("client_assertion" in form for form in echo.received)
    for secret in {KEY, *echo.secrets}:
        assert secret not in result.stderr
