"""Responses of the API, and the shapes of its errors.

The shapes A to D are those a client meets: the service's own errors, the gateway's, the web
framework's, and an empty body. The codes are from the vendor's page "Partner Center REST error
codes", except 2000, which is unpublished.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

Headers: TypeAlias = list[tuple[bytes, bytes]]
Shape: TypeAlias = Literal["A", "B", "C", "D", "html"]

BODILESS = frozenset({204, 304})
"""Statuses of responses that have neither a body nor its length (RFC 9110, 8.6)."""
MAX_NUMBER_LENGTH = 10
"""Digits of the longest text that is treated as a number."""
JSON_TYPE = b"application/json; charset=utf-8"

DEFAULT_CODES: dict[int, int | str] = {
    400: 2000,
    401: 400,
    403: 2032,
    404: 1000,
    500: 900192,
    501: 0,
}
"""The code of an error of shape A if a fault specifies none."""


as_json = msgspec.json.Encoder(decimal_format="number").encode
"""Encodes JSON; amounts keep all their digits."""


@dataclass(slots=True)
class Response:
    """One response: status, its own headers, whole body."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    content_type: bytes | None = JSON_TYPE


class ApiError(Exception):
    """A response other than success, raised where the reason is found."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(document: object, status: int = 200) -> Response:
    """Return a response whose body is `document`."""
    return Response(status, as_json(document))


def service_error(status: int, code: int | str, description: str) -> ApiError:
    """Return an error of the service itself (shape A)."""
    return ApiError(error_response(status, "A", code, description))


def error_response(
    status: int, shape: Shape | None, code: int | str | None, description: str
) -> Response:
    """Return an error in one of the API's shapes, by default the one usual for its status."""
    if shape is None:
        shape = "B" if status == 429 and code is None else "A"  # noqa: PLR2004
    match shape:
        case "A":
            code = DEFAULT_CODES.get(status, status) if code is None else code
            error = {"code": code, "description": description}
            return json_response(error | {"data": [], "source": "PartnerFD"}, status)
        case "B":
            return json_response({"statusCode": status, "message": description}, status)
        case "C":
            return json_response({"message": description}, status)
        case "D":
            return Response(status, content_type=None)
        case "html":
            page = f"<html><head><title>{status}</title></head><body>{description}</body></html>"
            return Response(status, page.encode(), content_type=b"text/html; charset=utf-8")
