"""Validates the tap's input by JSON Schema, and reports errors without values.

A value could be a secret in the wrong place. Besides the standard keywords, a schema may have
`expected`: a description of the valid values.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import requests
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from singer_sdk.exceptions import ConfigValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: A URL in which no part of a password can be mistaken for host or port, which are reported.
DATABASE = re.compile(
    r"postgres(ql)?(\+psycopg)?://([^:/@\s]*(:[^@\s]*)?@)?"
    r"([\w.%,-]*|\[[0-9a-f:.]+\])(:\d*)?/[^/?#@\s]+(\?\S*)?",
    re.IGNORECASE,
)
_KEY_BYTES = 32
_KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "object": "an object",
    "string": "text",
}


def _origin(text: str) -> str | None:
    """Return why a text is not an origin to which credentials may be sent."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - reading it is what checks it
        if parts.scheme and parts.hostname:
            parts.hostname.encode("idna")
            requests.Request("GET", text).prepare()
    except ValueError:
        return "is not a URL"
    if parts.username or parts.password:
        return "must not contain a user name or password"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return "must be an origin without a path, such as https://example.com"
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not (secure and parts.hostname):
        return "must start with https:// (http:// only for localhost)"
    return None


def _store(text: str) -> str | None:
    """Return why a text is neither a path nor a database URL."""
    if "\0" in text:
        return _NOT_SHOWN
    if "://" in text and not DATABASE.fullmatch(text):
        return (
            "must be a path, or an address such as postgresql://user:password@host/name, with %40 "
            "for an @ and %20 for a space in the password"
        )
    return None


def _are_keys(text: str) -> bool:
    try:
        keys = [base64.b64decode(k.strip(), b"-_", validate=True) for k in text.split(",")]
    except ValueError:
        return False
    return not text or all(len(key) == _KEY_BYTES for key in keys)


def _check(fits: Callable[[str], object], reason: str) -> Callable[[str], str | None]:
    return lambda text: None if fits(text) else reason


_NOT_SHOWN = "contains a non-printable character, such as a line break"
#: Return what is wrong with a text, None if nothing is; empty text is an unset setting.
_FORMATS: dict[str, Callable[[str], str | None]] = {
    "guid": _check(GUID.fullmatch, "must be a GUID"),
    "header": _check(
        re.compile(r"([!-~]([ -~]*[!-~])?)?").fullmatch,
        "must be printable ASCII without leading or trailing spaces",
    ),
    "keys": _check(
        _are_keys, "must be 32 bytes in URL-safe Base64, or several such keys separated by commas"
    ),
    "origin": _origin,
    # A path may contain non-printable characters, except for the one that terminates it.
    "path": _check(lambda text: "\0" not in text, _NOT_SHOWN),
    "store": _store,
    "tenant": _check(
        re.compile(rf"{GUID.pattern}|[a-z0-9-]+(\.[a-z0-9-]+)+", re.IGNORECASE).fullmatch,
        "must be a GUID or a domain",
    ),
    "text": _check(str.isprintable, _NOT_SHOWN),
}


def _format(_: object, name: str, value: object, __: object) -> Iterator[ValidationError]:
    if isinstance(value, str) and (reason := _FORMATS[name](value)):
        yield ValidationError(reason)


_Validator = extend(  # type: ignore[no-untyped-call] # the stubs lack it
    Draft202012Validator,
    {"format": _format},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            # A catalog passed by a program, as in the SDK's own tests, contains tuples.
            "array": lambda _, value: isinstance(value, list | tuple),
            # 5.0 is an integer in the standard, but not in Python.
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
        },
    ),
)


class InvalidInput(ConfigValidationError):
    """The configuration or catalog is invalid. `errors` has one line for each reason."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("The configuration or catalog is not valid", errors=errors)


def refuse(lines: Iterable[str]) -> None:
    """Reject the tap's input if there are any errors.

    Raises:
        InvalidInput: With these lines.
    """
    if errors := [*lines]:
        raise InvalidInput(errors)


class Violation(NamedTuple):
    """What is wrong, and where."""

    path: tuple[str | int, ...]
    reason: str

    def line(self, separator: str) -> str:
        """Format it as one line, with a separator between the names of the path."""
        steps = (f"[{s}]" if isinstance(s, int) else f"{separator}{s}" for s in self.path)
        return f"{''.join(steps).removeprefix(separator) or 'it'} {self.reason}"


def violations(value: object, schema: Mapping[str, Any]) -> Iterator[Violation]:
    """Find what does not match a schema."""
    for error in _Validator(schema).iter_errors(value):
        closest = _innermost(error)
        yield Violation(tuple(closest.absolute_path), _reason(closest))


def _innermost(error: ValidationError) -> ValidationError:
    """Return the error for the best match among several alternatives: the most deeply nested."""
    inside = max(error.context or (), key=lambda e: len(e.path), default=error)
    return _innermost(inside) if inside is not error and inside.path else error


def _reason(error: ValidationError) -> str:
    schema: Any = error.schema
    value: Any = error.instance
    if error.validator == "format":
        return error.message
    if error.validator == "required":
        return f"has no {next(name for name in schema['required'] if name not in value)}"
    if expected := schema.get("expected"):
        return f"must be {expected}"
    if allowed := schema.get("enum"):
        return f"must be one of {', '.join(allowed)}"
    forms = schema.get("anyOf", [schema])
    named = [form["type"] for form in forms if "type" in form]
    kinds = [kind for name in named for kind in ([name] if isinstance(name, str) else name)]
    words = " or ".join(_KINDS[kind] for kind in kinds if kind != "null")
    if not words:
        return "is not valid"
    if "minimum" in schema:
        smallest, largest = schema["minimum"], schema.get("maximum")
        span = f"from {smallest} to {largest}" if largest else f"of {smallest} or more"
        # Only numbers are quoted, since text could be a secret.
        words += f" {span}" + (f", not {value}" if type(value) is int else "")
    return f"must be {words}"
