"""Validates the catalog that the tap is given, and completes what it leaves out."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType
from singer_sdk.singerlib import Catalog, CatalogEntry, MetadataMapping, Schema, StreamMetadata

from tap_partnercenter.validation import refuse, violations
from tap_partnercenter.wording import did_you_mean

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, Sequence

    from singer_sdk import Stream

#: Most lines about the shape of one catalog: a program wrote it and repeats its mistake.
_MAX_LINES = 10


class _Schema(Struct):
    type: str | list[str] | UnsetType = UNSET
    properties: dict[str, _Schema] | UnsetType = UNSET
    items: _Schema | UnsetType = UNSET
    required: list[str] | UnsetType = UNSET


class _Metadata(Struct, rename="kebab"):
    selected: bool | None = None
    selected_by_default: bool | None = None
    inclusion: str | None = None
    table_key_properties: list[str] | None = None
    replication_key: str | None = None
    forced_replication_method: str | None = None


class _Entry(Struct):
    breadcrumb: list[str]
    metadata: _Metadata


class _Stream(Struct):
    tap_stream_id: str
    stream: str | None = None
    key_properties: list[str] | None = None
    replication_key: str | None = None
    replication_method: str | None = None
    schema: _Schema | UnsetType = UNSET
    metadata: list[_Entry] | UnsetType = UNSET


class _Catalog(Struct):
    """What the SDK reads from a catalog without validating it."""

    streams: list[_Stream]


def check_shape(catalog: Mapping[str, Any]) -> None:
    """Check for what the SDK would fail on.

    Raises:
        InvalidInput: With one line for each place.
    """
    try:
        msgspec.convert(catalog, _Catalog)
    except msgspec.ValidationError as error:
        # JSON Schema finds every place, but takes tens of milliseconds even where all is well.
        wrong = itertools.islice(violations(catalog, msgspec.json.schema(_Catalog)), _MAX_LINES)
        refuse([f"catalog: {violation.line('.')}" for violation in wrong] or [f"catalog: {error}"])


def completed(given: Catalog, streams: Sequence[Stream], logger: logging.Logger) -> Catalog:
    """Return a catalog with a complete entry for each stream.

    A stream that it leaves out is deselected, as in the SDK; its children may still be selected. A
    schema or key that it leaves out is the tap's own.

    Raises:
        InvalidInput: With one line for each request that the tap cannot fulfil.
    """
    own = {stream.name: _own_entry(stream) for stream in streams}
    refuse(
        [
            *(
                f"catalog: there is no stream {name}{did_you_mean(name, own)}"
                for name, entry in given.items()
                if name not in own and _selected(entry)
            ),
            *(
                f"catalog: {name}: {reason}"
                for name, entry in own.items()
                if name in given and _selected(given[name])
                for reason in _problems(given[name], entry)
            ),
        ],
    )
    catalog = Catalog()
    for name, entry in own.items():
        if name in given and _selected(given[name]):
            catalog.add_stream(_completed_entry(given[name], entry, logger))
        else:
            entry.metadata.root.selected = False
            catalog.add_stream(entry)
    return catalog


def with_all_fields(catalog: Catalog) -> Catalog:
    """Return a catalog in which deselected streams have their fields: a stream map may use them."""
    return Catalog(
        (
            name,
            entry if _selected(entry) else dataclasses.replace(entry, metadata=MetadataMapping()),
        )
        for name, entry in catalog.items()
    )


def _own_entry(stream: Stream) -> CatalogEntry:
    return CatalogEntry(
        tap_stream_id=stream.name,
        stream=stream.name,
        key_properties=list(stream.primary_keys),
        schema=Schema.from_dict(stream.schema),
        metadata=MetadataMapping.get_standard_metadata(
            schema=stream.schema,
            key_properties=stream.primary_keys,
            replication_method=stream.replication_method,
        ),
        replication_method=stream.replication_method,
        replication_key=stream.replication_key,
    )


def _selected(entry: CatalogEntry) -> bool:
    return entry.metadata.resolve_selection().get((), True)


def _root(entry: CatalogEntry) -> StreamMetadata:
    # Not `metadata.root`, which adds an entry, and by that deselects the stream.
    return cast("StreamMetadata", entry.metadata.get((), StreamMetadata()))


def _problems(entry: CatalogEntry, own: CatalogEntry) -> Iterator[str]:
    """List the requests in a stream's entry that the tap cannot fulfil."""
    if entry.stream and entry.stream != own.stream:
        yield f"stream is {entry.stream}. To rename a table, set __alias__ in stream_maps"
    if fields := entry.schema.properties:
        for name in own.key_properties or ():
            if name not in fields:
                yield f"its schema has no {name}, which is part of the key. Run discovery again"
        for name in _key(entry) or ():
            if name not in fields and name not in (own.key_properties or ()):
                yield f"its schema has no {name}, which its key_properties name"


def _completed_entry(
    entry: CatalogEntry, own: CatalogEntry, logger: logging.Logger
) -> CatalogEntry:
    root = _root(entry)
    methods = {entry.replication_method, root.forced_replication_method} - {None}
    if wanted := methods - {own.replication_method}:
        logger.warning(
            "catalog: %s: replication method %s has no effect, the stream is always %s",
            own.stream,
            ", ".join(sorted(map(str, wanted))),
            own.replication_method,
        )
    metadata = MetadataMapping(entry.metadata)
    for name in own.key_properties or ():
        # A record without its key is useless.
        metadata["properties", name] = own.metadata["properties", name]
    metadata[()] = dataclasses.replace(
        root,
        selected=True,
        replication_key=own.replication_key,
        forced_replication_method=own.replication_method,
    )
    key = _key(entry)
    return dataclasses.replace(
        entry,
        stream=own.stream,
        schema=entry.schema if entry.schema.properties else own.schema,
        metadata=metadata,
        key_properties=own.key_properties if key is None else key,
        replication_key=own.replication_key,
        replication_method=own.replication_method,
    )


def _key(entry: CatalogEntry) -> Sequence[str] | None:
    """Return the key that an entry asks for, None if it asks for none."""
    keys = (entry.key_properties, _root(entry).table_key_properties)
    return next((key for key in keys if key), next((key for key in keys if key is not None), None))
