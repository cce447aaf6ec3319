"""Settings as environment variables, with `--config ENV`: unreadable and unknown ones."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from tap_partnercenter.validation import refuse
from tap_partnercenter.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Python refuses to read numbers of some thousand digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,100}")
PREFIX = "TAP_PARTNERCENTER_"
#: The SDK takes any other text for false.
_BOOLEANS = frozenset({"true", "1", "yes", "on", "false", "0", "no", "off", ""})
#: Other sources of variables with that prefix: Meltano, with a second underscore, and Kubernetes,
#: if a service has the tap's name.
_INJECTED = re.compile(r"_.*|PORT(_.*)?|SERVICE_(HOST|PORT)(_.*)?")


def check_environment(schema: Mapping[str, Any]) -> None:
    """Report all variables at once that the SDK would fail on one by one, or misread.

    Raises:
        InvalidInput: With one line for each.
    """
    found = []
    for name, field in schema["properties"].items():
        variable = f"{PREFIX}{name.upper()}"
        value = os.environ.get(variable)
        if value is not None and "integer" in field["type"] and not _INTEGER.fullmatch(value):
            found.append(f"{variable} must be a whole number, or left unset")
        elif value is not None and "boolean" in field["type"] and value.lower() not in _BOOLEANS:
            found.append(f"{variable} must be true or false, or left unset")
        elif value is not None and {"object", "array"} & {*field["type"]} and not _is_json(value):
            found.append(f"{variable} must be JSON, or left unset")
    refuse(found)


def unknown_variables(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """List the variables that have no effect, each with the closest known one."""
    # Meltano sets a variable for each member of a setting that is an object, too.
    objects = tuple(
        f"{PREFIX}{name.upper()}_" for name, field in known.items() if "object" in field["type"]
    )
    variables = {f"{PREFIX}{name.upper()}" for name in (*known, "loglevel")}
    for name in sorted(os.environ):
        if (
            name.startswith(PREFIX)
            and name not in variables
            and not name.startswith(objects)
            and not _INJECTED.fullmatch(name.removeprefix(PREFIX))
        ):
            # Any two names are similar if the prefix counts.
            yield f"{name}{did_you_mean(name, variables, prefix=PREFIX)}"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
