"""Continuations: the opaque tokens that lead from page to page, and the links that contain them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
import zlib
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from .options import LinkForm  # noqa: TC001 - msgspec reads the annotation
from .responses import service_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .credentials import Credentials
    from .options import Options

TOKEN_HEADER = "MS-ContinuationToken"  # noqa: S105 - a header's name
SHARD_HEADER = "X-Emulator-Shard"
ROTATION: tuple[LinkForm, ...] = (
    "relative",
    "versioned",
    "absolute",
    "double_question",
    "token_only",
)

_MAGIC = b"\x01\x0f\xfe"
"""Base64 of these bytes is `AQ/+`: every token has the characters that break careless clients."""
_SIGNATURE = 12
_LENGTH = 2


class Cursor(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a listing continues.

    `path` is the collection's, without version and in lower case, and `query` its parameters in
    their canonical spelling; `page` counts from 0; `previous` is where the previous page began;
    `shard` is the value that the extra header must return, or -1; `form` is how the link was
    written; `ended` marks a token after which there is no data.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    size: int
    start: int
    page: int
    previous: int = 0
    form: LinkForm = "relative"
    shard: int = -1
    issued: int = 0
    ended: bool = False

    @property
    def digest(self) -> int:
        """A number that differs between filters and between customers."""
        values = "".join(value for _, value in self.query)
        if self.path.count("/") > 1:
            values += self.path
        return zlib.crc32(values.encode())


class Continuations:
    """Signs cursors into tokens and reads them back; nothing is remembered."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        """Derive a key from tenant and secret, so that tokens stay valid after a restart."""
        secret = hashlib.sha256(credentials.client_secret.encode()).digest()
        self._key = hashlib.blake2b(credentials.tenant_id.encode(), key=secret).digest()
        self._clock = clock

    def stamp(self, options: Options, cursor: Cursor) -> Cursor:
        """Add link form, shard and time of issue to a cursor for the client."""
        form = options.link_form
        turn = 0
        if form == "rotate" or options.extra_link_headers:
            turn = cursor.page + cursor.digest
        if form == "rotate":
            form = ROTATION[turn % len(ROTATION)]
        wants_header = options.extra_link_headers and form not in ("token_only", "token_apart")
        return msgspec.structs.replace(
            cursor,
            form=form,
            shard=turn % 16 if wants_header else -1,
            issued=int(self._clock()) if options.continuation_lifetime else 0,
        )

    def seal(self, cursor: Cursor) -> str:
        """Return the token of a cursor; equal cursors have equal tokens."""
        payload = msgspec.msgpack.encode(cursor)
        signature = self._sign(payload)
        sealed = _MAGIC + signature + len(payload).to_bytes(_LENGTH) + payload
        if len(sealed) % 3 == 0:
            sealed += b"\0"
        # The identifier at the front looks like the vendor's and is derived from the signature.
        front = uuid.UUID(bytes=(signature + payload[-4:])[:16], version=4)
        return f"{front},{base64.b64encode(sealed).decode()}"

    def open(self, options: Options, token: str) -> Cursor:
        """Return the cursor in a token.

        Raises:
            ApiError: 400 with code 2000 for a token that is foreign, altered or too old.
        """
        try:
            sealed = base64.b64decode(token.partition(",")[2], validate=True)
            begin = len(_MAGIC) + _SIGNATURE + _LENGTH
            length = int.from_bytes(sealed[begin - _LENGTH : begin])
            payload = sealed[begin : begin + length]
            signature = sealed[len(_MAGIC) : begin - _LENGTH]
            cursor = msgspec.msgpack.decode(payload, type=Cursor)
        except (ValueError, msgspec.MsgspecError):
            _refuse("The continuation token is invalid.")
        if not hmac.compare_digest(signature, self._sign(payload)) or self.seal(cursor) != token:
            _refuse("The continuation token is invalid.")
        lifetime = options.continuation_lifetime
        if lifetime and self._clock() > cursor.issued + lifetime:
            _refuse("The continuation token has expired.")
        return cursor

    def _sign(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=self._key, digest_size=_SIGNATURE).digest()


def next_link(cursor: Cursor, token: str, uri: str, origin: str) -> dict[str, Any]:
    """Return the link to the page at `cursor`.

    Args:
        cursor: Where the page begins, and how the link is written.
        token: The cursor, sealed.
        uri: Path and query of the list, without version.
        origin: Scheme, host and port as the client knows them.
    """
    separator = "?" if cursor.form == "double_question" else "&"
    headers = [{"key": TOKEN_HEADER, "value": token}]
    if cursor.form == "token_apart":
        headers = []
    if cursor.shard >= 0:
        headers.insert(0, {"key": SHARD_HEADER, "value": str(cursor.shard)})
    return {
        "uri": f"{prefix(cursor.form, origin)}{uri}{separator}seekOperation=Next",
        "method": "GET",
        "headers": headers,
    }


def prefix(form: LinkForm, origin: str) -> str:
    """Return the part of a link of this form before the path."""
    return {"versioned": "/v1", "absolute": f"{origin}/v1"}.get(form, "")


def _refuse(description: str) -> NoReturn:
    raise service_error(400, 2000, description) from None
