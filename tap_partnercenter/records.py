"""Fitting records to their schema: what is declared stays, in its order; the rest is named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from singer_sdk import SchemaDirectory, StreamSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PACKAGE = Path(__file__).parent
_PACKAGED = _PACKAGE / "schemas"

#: `<stream>.json` for each stream. A wheel carries the files; in a checkout they stand at the top.
SCHEMAS = StreamSchema(
    SchemaDirectory(_PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "schemas"),
)

#: Never emitted, whatever a catalog says: the answer to a creation holds a password in clear.
SECRET_FIELDS = frozenset({"usercredentials"})
#: Left out without a word: links mean something to the API only.
SILENT_FIELDS = SECRET_FIELDS | {"links"}


class Shape:
    """The declared fields of an object, nested ones too."""

    def __init__(self, schema: Mapping[str, Any], path: str = "") -> None:
        """Read a JSON schema with `properties`; `path` names it in reports, ending in a dot."""
        self._path = path
        self._fields: dict[str, Shape | bool] = {}
        for name, field in schema["properties"].items():
            if name.lower() in SECRET_FIELDS:
                continue
            if "properties" in field:
                self._fields[name] = Shape(field, f"{path}{name}.")
            else:
                self._fields[name] = _is_text(field)

    def fit(
        self,
        record: Mapping[str, Any],
        on_unknown: Callable[[str], None],
    ) -> dict[str, Any]:
        """Return the declared fields of a record, in the order of the schema.

        The vendor's specification types some text fields as numbers: a number becomes text there.

        Args:
            record: As the service sent it.
            on_unknown: Called with the path of each field that is not declared.
        """
        fitted: dict[str, Any] = {}
        for name, field in self._fields.items():
            if name in record:
                value = record[name]
                if field is True:
                    if isinstance(value, int) and not isinstance(value, bool):
                        value = str(value)
                elif field is not False and isinstance(value, dict):
                    value = field.fit(value, on_unknown)
                fitted[name] = value
        if len(fitted) != len(record):
            for name in record:
                if name not in fitted and name.lower() not in SILENT_FIELDS:
                    on_unknown(f"{self._path}{name}")
        return fitted


def _is_text(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", ())
    return "string" in ([kinds] if isinstance(kinds, str) else kinds) and "integer" not in kinds
