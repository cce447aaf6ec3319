"""Fits records to their schema. Declared fields are kept, in order; the others are reported."""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from singer_sdk import SchemaDirectory, StreamSchema

from tap_partnercenter.report import FieldIssue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    #: A decoded value of any type.
    Json: TypeAlias = Any
    #: Receives what is wrong with a field, and its path.
    OnIssue: TypeAlias = Callable[[FieldIssue, str], None]
    Conversion: TypeAlias = Callable[[Json, OnIssue], Json]

_CANONICAL = msgspec.json.Encoder(order="deterministic", decimal_format="number")

_PACKAGE = Path(__file__).parent
_PACKAGED = _PACKAGE / "schemas"

#: `<stream>.json` for each stream. A wheel includes the files; a checkout has them at the top.
SCHEMAS = StreamSchema(
    SchemaDirectory(_PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "schemas"),
)

#: Never emitted, whatever a catalog says: the response to a creation contains a plain password.
SECRET_FIELDS = frozenset({"usercredentials"})
#: Left out without a warning: links are only useful to the API.
SILENT_FIELDS = SECRET_FIELDS | {"links"}


class Shape:
    """The declared fields of an object, including nested ones.

    It does what the SDK's `conform_record_data_types` does, in a third of the time.
    """

    def __init__(self, schema: Mapping[str, Any], path: str = "") -> None:
        """Read a JSON schema with `properties`; `path` names it in reports, ending in a dot."""
        self._path = path
        self._open = bool(schema.get("additionalProperties"))
        self._fields: dict[str, Conversion | None] = {
            name: _conversion(field, f"{path}{name}.")
            for name, field in schema["properties"].items()
            if name.lower() not in SECRET_FIELDS
        }

    def fit(self, record: Mapping[str, Any], on_issue: OnIssue) -> dict[str, Any]:
        """Return the declared fields of a record, in the record's order.

        `on_issue` is called for each field that cannot be passed on unchanged.
        """
        fields = self._fields
        fitted: dict[str, Any] = {}
        for name, value in record.items():
            convert: Conversion | None = fields.get(name, _undeclared)
            # Nearly all values are text in a text field.
            if value.__class__ is str and (convert is _text or convert is _key_text):
                fitted[name] = value
            elif convert is None:
                fitted[name] = _without_secrets(value)
            elif convert is not _undeclared:
                fitted[name] = convert(value, on_issue)
            elif name.lower() not in SILENT_FIELDS:
                if self._open:
                    fitted[name] = _without_secrets(value)
                else:
                    on_issue(FieldIssue.UNKNOWN, f"{self._path}{name}")
        return fitted

    def fit_if_object(self, value: Json, on_issue: OnIssue) -> Json:
        """Fit a value where an object is declared; leave other types for the target to reject."""
        return self.fit(value, on_issue) if value.__class__ is dict else _without_secrets(value)


def digest(value: Json) -> str:
    """Return a hash of a value: 32 hexadecimal digits, the same in each run."""
    return hashlib.sha256(_CANONICAL.encode(value)).hexdigest()[:32]


def _conversion(schema: Mapping[str, Any], path: str) -> Conversion | None:
    """Return what converts a value to what the schema declares, None if nothing has to."""
    declared = schema.get("type", ())
    kinds = {declared} if isinstance(declared, str) else {*declared}
    if "properties" in schema:
        return Shape(schema, path).fit_if_object
    if kinds - {"null"} == {"boolean"}:
        return partial(_boolean, path.removesuffix("."))
    if kinds - {"null"} in ({"number"}, {"integer"}):
        return partial(_number, path.removesuffix("."), whole="integer" in kinds)
    if "string" in kinds and "integer" not in kinds:
        return _text if "null" in kinds else _key_text
    if "array" in kinds and (convert := _conversion(schema.get("items", {}), path)):
        return partial(_array, convert)
    return None


def _array(convert: Conversion, value: Json, on_issue: OnIssue) -> Json:
    """Fit the items of a list. A single object becomes a list of one: sources differ on some."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return [convert(item, on_issue) for item in value]
    return value


def _key_text(value: Json, _: OnIssue) -> Json:
    """Convert a number to text in a key field; other types are not keys."""
    return str(value) if value.__class__ is int else _without_secrets(value)


def _text(value: Json, _: OnIssue) -> Json:
    """Convert what is not text to JSON: the vendor types some enumerations as numbers."""
    if isinstance(value, int | Decimal | list | dict):
        return _CANONICAL.encode(_without_secrets(value)).decode()
    return value


def _without_secrets(value: Json) -> Json:
    """Return a value not covered by any schema, without what must never be emitted."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _without_secrets(item)
            for name, item in value.items()
            if name.lower() not in SECRET_FIELDS
        }
    return value


def _undeclared(_: Json, __: OnIssue) -> None:
    """Stand in for the conversion of a field that no schema declares."""


_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(\.[0-9]{1,100})?([Ee][+-]?[0-9]{1,3})?")


def _number(path: str, value: Json, on_issue: OnIssue, *, whole: bool) -> int | Decimal | None:
    """Read a number, possibly sent as text; anything else becomes null.

    Args:
        path: Names the field.
        value: As the service sent it.
        on_issue: Called for a value that becomes null.
        whole: Whether the field is an integer. Targets refuse others there.
    """
    if value.__class__ is int or value is None:
        return value
    number = value if isinstance(value, Decimal) else None
    if isinstance(value, str) and _NUMBER.fullmatch(text := value.strip()):
        number = Decimal(text)
    if number is None or (whole and number != number.to_integral_value()):
        on_issue(FieldIssue.NO_NUMBER, path)
        return None
    return number


#: Accepted spellings of a boolean. A number with a decimal point counts by its value.
_BOOLEANS: dict[object, bool] = {
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    1: True,
    0: False,
}


def _boolean(path: str, value: Json, on_issue: OnIssue) -> bool | None:
    """Read a boolean; anything that is neither true nor false becomes null."""
    boolean = None
    if isinstance(value, str):
        boolean = _BOOLEANS.get(value.strip().lower())
    elif isinstance(value, int | Decimal):
        boolean = _BOOLEANS.get(value)
    if boolean is None and value is not None:
        on_issue(FieldIssue.NO_BOOLEAN, path)
    return boolean
