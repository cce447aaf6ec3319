"""No secret and no personal name in any log, state or error, under any fault or log level."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partnercenter_emulator import Fault
from tests.command_line import Result
from tests.failures import API, PLACES, sampled
from tests.planted import (
    ACCESS_TOKEN,
    COMPANY,
    LEAK,
    MAIL,
    PASSWORD,
    ROTATED,
    assert_no_secrets,
    planted,
    run,
)

HEADERS = {
    "MS-CV": f"{COMPANY}.{PASSWORD}",
    "MS-ServerId": COMPANY,
    "MS-RequestId": COMPANY,
    "MS-CorrelationId": MAIL,
    "WWW-Authenticate": f'Bearer error="{MAIL}", error_description="{LEAK}"',
    "Set-Cookie": f"session={ACCESS_TOKEN}",
    "X-Company": LEAK,
}
ERROR = {"code": COMPANY, "description": LEAK, "message": LEAK, "data": [LEAK], "source": MAIL}
SIGN_IN = {
    "error": COMPANY,
    "error_description": LEAK,
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
    "text": {"body": LEAK.encode()},
    "cut JSON": {"body": json.dumps(collection()).encode()[:-3]},
    "not UTF-8": {"body": LEAK.encode("utf-16")},
    "a list": {"json": [LEAK]},
    "a string": {"json": LEAK},
    "no collection": {"json": {LEAK: LEAK}},
    "items no list": {"json": {"items": {LEAK: RECORD}}},
    "item no object": {"json": {"items": [LEAK]}},
    "no id": {"json": collection(items=[{**RECORD, "id": None}])},
    "odd id": {"json": collection(items=[{**RECORD, "id": f"{MAIL}/{COMPANY}"}])},
    "unknown field": {"json": collection(items=[{**RECORD, LEAK: 1, MAIL: 2}])},
    "link elsewhere": {"json": linked(f"https://{COMPANY}.example/{PASSWORD}?{LEAK}")},
    "odd link": {"json": linked(LEAK)},
    "odd header": {"json": linked("/customers", key="X", value=f"{LEAK}\r\n{LEAK}")},
    "own header": {"json": linked("/customers", key="Authorization", value=LEAK)},
    "odd token": {"json": collection(continuationToken=[LEAK])},
    "odd links": {"json": collection(links=LEAK)},
    "redirect": {"redirect": f"https://{COMPANY}.example/?x={quote(LEAK)}"},
    "access token": {"json": {"access_token": f"{ACCESS_TOKEN}\n", "refresh_token": ROTATED}},
}


@pytest.mark.parametrize("status", [200, 403])
@pytest.mark.parametrize(("answer", "place"), sampled(ANSWERS, API, always=["token"]))
def test_no_response_is_repeated(place: Any, answer: str, status: int) -> None:
    """As a 200 and as an error, in bodies and headers: none of it is in log, error or state."""
    action = ANSWERS[answer] if answer == "redirect" else {**ANSWERS[answer], "status": status}
    with planted(Fault(place=place, headers=HEADERS, **action)) as emulator:
        assert_no_secrets(run(emulator, "DEBUG"))


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
def test_no_fault_makes_the_tap_reveal_secrets(  # noqa: PLR0913, PLR0917 - what is drawn
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
        assert_no_secrets(result)


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_successful_run_reveals_no_secret(level: str) -> None:
    """The same applies to what works: requests, tokens, records."""
    with planted() as emulator:
        result = run(emulator, level)
        assert result.exit_code == 0
        names = [
            str(customer["companyProfile"]["companyName"]) for customer in emulator.customers()
        ]
    assert_no_secrets(result)
    for name in names:
        assert name not in result.stderr
        assert name in result.stdout
    assert ("DEBUG" in result.stderr) == (level == "DEBUG")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK", b"HTTP/9.9 x " + LEAK.encode()])
def test_a_server_that_does_not_speak_http_is_not_quoted(
    answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Malformed header lines, and text instead of a status line."""
    raw = (
        answer + b"\r\n" + LEAK.encode() + b"\r\n : " + LEAK.encode() + b"\r\n\r\n" + LEAK.encode()
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
                    connection.sendall(raw)

        threading.Thread(target=serve, daemon=True).start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = run(emulator, "DEBUG", api_url=address)
        assert result.exit_code == 1
        assert_no_secrets(result)
        assert_no_secrets(run(emulator, "DEBUG", auth_url=address))
        server.shutdown(socket.SHUT_RDWR)
    printed = capfd.readouterr()
    assert COMPANY not in printed.err


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_an_unexpected_error_reports_only_its_type(
    level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream map that fails on a record: one line, with no record in the traceback either."""
    monkeypatch.setenv("SOME_OTHER", LEAK)
    maps = {"customers": {"x": "int(companyProfile['companyName'])"}}
    with planted() as emulator:
        names = [
            str(customer["companyProfile"]["companyName"]) for customer in emulator.customers()
        ]
        result = run(emulator, level, stream_maps=maps)
    assert result.exit_code == 1
    assert_no_secrets(result)
    for name in names:
        assert name not in result.stderr
    assert ("Traceback" in result.stderr) == (level == "DEBUG")


@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_a_separate_process_reveals_no_secret_either(level: str) -> None:
    """The same for a real command, with settings in the environment: output and log."""
    with planted(
        Fault(place="partition", status=500, shape="A", description=LEAK),
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
    assert_no_secrets(Result(ended.returncode, ended.stdout, ended.stderr))
