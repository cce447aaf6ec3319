"""Finds mistakes in `stream_maps` that the SDK accepts as a map without effect.

A map that removes a field that does not exist, or maps a stream that does not exist, lets through
data that it should hold back.
"""

from __future__ import annotations

import ast
import copy
import difflib
import fnmatch
from typing import TYPE_CHECKING, Any

from singer_sdk.exceptions import ConfigurationError, MappingError, StreamMapConfigError
from singer_sdk.mapper import CustomStreamMap, PluginMapper, RemoveRecordTransform

from tap_partnercenter.catalog import with_all_fields
from tap_partnercenter.validation import refuse, violations
from tap_partnercenter.wording import did_you_mean

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from singer_sdk import Stream
    from singer_sdk.singerlib import Catalog

_OPTIONS = {"__alias__", "__else__", "__filter__", "__key_properties__", "__source__"}
#: Null in a configuration file, and where null cannot be written.
_REMOVED = (None, "__NULL__")
#: Names in an expression that are not fields ("Stream maps" in the SDK's documentation).
_NAMES = {"_", "record", "config", "fake", "__stream_name__", "__original_stream_name__"}
_NOTHING = {"enum": _REMOVED, "expected": "null or __NULL__"}
_CHANGES = {
    "type": ["object", "string", "null"],
    "pattern": r"^__NULL__\Z",
    "expected": "null or __NULL__, to leave the stream out, or an object",
    "properties": {
        **{option: {"type": "string"} for option in _OPTIONS},
        "__else__": _NOTHING,
        "__key_properties__": {
            "type": "array",
            "items": {"type": "string"},
            "expected": "a list of fields",
        },
    },
    "additionalProperties": {
        "type": ["string", "null"],
        "expected": "null, to leave the field out, or an expression as text",
    },
}
_SHAPE = {
    "properties": {
        "stream_maps": {
            "type": ["object", "null"],
            "properties": {"__else__": _NOTHING},
            "additionalProperties": _CHANGES,
        },
    },
}
_FUNCTIONS = CustomStreamMap(
    stream_alias="",
    map_config={},
    faker_config={},
    raw_schema={"properties": {}},
    key_properties=None,
    map_transform={},
    flattening_options=None,
).functions.keys()


def shape_problems(maps: object) -> Iterator[str]:
    """Return what is not a map at all, without its value."""
    for violation in violations({"stream_maps": maps}, _SHAPE):
        yield violation.line(": ")


def checked_mapper(
    config: Mapping[str, Any],
    catalog: Catalog,
    streams: Mapping[str, Stream],
    logger: logging.Logger,
) -> PluginMapper:
    """Create the mapper, which maps and flattens records.

    Raises:
        InvalidInput: With one line for each name in the maps that does not exist.
        MappingError: If the SDK cannot interpret them.
    """
    # A copy, since the mapper removes `__else__` from the maps. It does not treat null as unset.
    given = copy.deepcopy({name: value for name, value in config.items() if value is not None})
    maps = given.get("stream_maps", {})
    schemas = {name: _all_fields(stream) for name, stream in streams.items()}
    refuse([*shape_problems(maps)] or _problems(maps, schemas))
    for issue in _possible_errors(maps, schemas):
        logger.warning(issue)
    try:
        mapper = PluginMapper(given, logger)
        mapper.register_raw_streams_from_catalog(with_all_fields(catalog))
    except MappingError as error:
        message = f"stream_maps: {error}"
        raise StreamMapConfigError(message) from error
    except ConfigurationError:
        raise
    except Exception as error:
        message = f"stream_maps: an option is not valid ({type(error).__name__})"
        raise StreamMapConfigError(message) from error
    written: dict[str, str] = {}
    for name, made in mapper.stream_maps.items():
        for stream_map in made:
            alias = stream_map.stream_alias
            if not isinstance(alias, str) or not alias:
                message = f"stream_maps: {name}: __alias__ is not a name"
                raise StreamMapConfigError(message)
            sent = name in streams and streams[name].selected
            if isinstance(stream_map, RemoveRecordTransform) or not sent:
                continue
            if alias in written:
                # If the target deletes rows, the version of one would remove those of the other.
                message = (
                    f"stream_maps: {written[alias]} and {name} are both written as {alias}, which "
                    "would become one table. Choose another name"
                )
                raise StreamMapConfigError(message)
            written[alias] = name
    return mapper


def _all_fields(stream: Stream) -> dict[str, Any]:
    """Return the schema of a stream including the fields that a catalog omitted."""
    schema = stream.effective_schema
    return {**schema, "properties": {**stream.schema["properties"], **schema["properties"]}}


def _problems(maps: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Report each stream, field and option that does not exist, with the one probably meant."""
    for name, changes in _mapped(maps):
        source = _source(name, changes)
        matched = _matched(source, schemas)
        if not matched:
            yield f"stream_maps: there is no stream {source}{did_you_mean(source, schemas)}"
        elif isinstance(changes, dict):
            is_open = any(schema.get("additionalProperties") for schema in matched)
            fields = None if is_open else _fields(matched)
            for field, change in changes.items():
                if reason := _mistake(field, change, fields):
                    yield f"stream_maps: {name}: {reason}"


def _possible_errors(
    maps: Mapping[str, Any], schemas: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    """Report each new field whose name resembles one that the map does not change."""
    for name, changes in _mapped(maps):
        fields = _fields(_matched(_source(name, changes), schemas))
        if isinstance(changes, dict):
            computed = {k: v for k, v in changes.items() if isinstance(v, str)}
            unmapped = fields - changes.keys()
            for field in sorted(computed.keys() - fields - _OPTIONS):
                for close in difflib.get_close_matches(field, unmapped, n=1, cutoff=0.9):
                    if not any(close in change for change in computed.values()):
                        yield (
                            f"stream_maps: {name}: {field} is a new field, and {close} stays as it "
                            f"is. Did you mean {close}?"
                        )


def _mapped(maps: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    # The SDK rejects other names that begin like this.
    return ((name, changes) for name, changes in maps.items() if not name.startswith("__"))


def _source(name: str, changes: object) -> str:
    return str(changes.get("__source__", name)) if isinstance(changes, dict) else name


def _matched(source: str, schemas: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the schemas of the streams that a map applies to: its name may be a pattern."""
    return [schema for name, schema in schemas.items() if fnmatch.fnmatch(name, source)]


def _fields(schemas: list[Mapping[str, Any]]) -> set[str]:
    return {name for schema in schemas for name in schema["properties"]}


def _mistake(field: str, change: str | None, fields: AbstractSet[str] | None) -> str | None:
    """Return what is wrong with an entry of a map; `fields` is None if any field is allowed."""
    if field in _OPTIONS - {"__filter__"}:
        return None
    if field.startswith("__") and field != "__filter__":
        close = difflib.get_close_matches(field.strip("_"), [o.strip("_") for o in _OPTIONS], n=1)
        if close or field.endswith("__"):
            may_be = f" (did you mean __{close[0]}__?)" if close else ""
            return f"there is no option {field}{may_be}"
    if change is None or change in _REMOVED:
        return _unknown(field, fields) if fields is not None and field not in fields else None
    try:
        names = _names(change)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"{field} is not a valid expression"
    return _similar_name(field, names, fields) if fields is not None else None


def _similar_name(field: str, names: set[str], fields: AbstractSet[str]) -> str | None:
    if "self" in names and field not in fields:
        return f"self is undefined, because {_unknown(field, fields)}"
    unknown = sorted(names - fields - _FUNCTIONS - _NAMES - {"self"})
    return f"{field}: {_unknown(unknown[0], fields)}" if unknown else None


def _unknown(field: str, fields: AbstractSet[str]) -> str:
    wholes = [name for name in fields if field.startswith((f"{name}__", f"{name}."))]
    if whole := max(wholes, key=len, default=None):
        return f"there is no field {field}: maps come before flattening and see {whole} as a whole"
    return f"there is no field {field}{did_you_mean(field, fields)}"


def _names(expression: str) -> set[str]:
    """Return the names that an expression reads."""
    nodes = ast.walk(ast.parse(expression, mode="eval"))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    # A comprehension has names of its own.
    return {n.id for n in names} - {n.id for n in names if isinstance(n.ctx, ast.Store)}
