"""Errors of Microsoft Entra.

Names and numbers are from its page "Microsoft Entra authentication and authorization error codes",
those for the device code from "OAuth 2.0 device authorization grant".
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from .responses import Response, json_response

_ERRORS = {
    50011: "invalid_request",
    50027: "invalid_request",
    50076: "invalid_grant",
    50078: "invalid_grant",
    50079: "invalid_grant",
    50173: "invalid_grant",
    53003: "invalid_grant",
    54005: "invalid_grant",
    65001: "invalid_grant",
    70000: "invalid_grant",
    70003: "unsupported_grant_type",
    70008: "invalid_grant",
    70011: "invalid_scope",
    70016: "authorization_pending",
    70017: "authorization_declined",
    70019: "bad_verification_code",
    70020: "expired_token",
    90002: "invalid_request",
    90033: "temporarily_unavailable",
    500011: "invalid_resource",
    500112: "invalid_client",
    501481: "invalid_grant",
    700007: "invalid_grant",
    700016: "unauthorized_client",
    700021: "invalid_client",
    700023: "invalid_client",
    700024: "invalid_client",
    700025: "invalid_client",
    700027: "invalid_client",
    700054: "unsupported_response_type",
    700082: "invalid_grant",
    900144: "invalid_request",
    1002012: "invalid_scope",
    7000215: "invalid_client",
    7000218: "invalid_client",
    7000222: "invalid_client",
    9002327: "invalid_request",
}


def entra_error(status: int, number: int, text: str) -> Response:
    """Return an error of the token endpoint; `number` is the one after "AADSTS"."""
    trace, correlation = str(uuid.uuid4()), str(uuid.uuid4())
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}"
    description = (
        f"AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {now}"
    )
    document = {
        "error": _ERRORS.get(number, "invalid_request"),
        "error_description": description,
        "error_codes": [number],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={number}",
    }
    return json_response(document, status)
