"""Whole message streams, as files: any change of the output shows up in review.

Run `pytest tests/test_golden.py --update-golden` to rewrite the files.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault

if TYPE_CHECKING:
    from tests.command_line import Result
    from tests.conftest import Start, Sync

GOLDEN = Path(__file__).parent / "golden"
DELETES = {"emit_activate_version_messages": True}

#: Emulator options and tap settings.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "every_stream": ({"link_form": "relative"}, {}),
    "tokens_in_bodies": ({"customers": 7, "link_form": "token_only", "ending": "code_2000"}, {}),
    "deletes": ({"link_form": "versioned"}, DELETES),
    "deletes_with_a_skipped_customer": ({"link_form": "absolute"}, DELETES),
    "flattened": ({"customers": 2}, {"flattening_enabled": True, "flattening_max_depth": 1}),
}


def lines(result: Result) -> str:
    """The messages without what changes from run to run: times, versions, continuation tokens.

    Also without the digest of settings and schema, which changes with every description.
    """
    text = []
    for original in result.messages:
        message = dict(original)
        if "time_extracted" in message:
            message["time_extracted"] = "…"
        if "version" in message:
            message["version"] = 0
        if message["type"] == "SCHEMA":
            # The order of the members is irrelevant and differs between versions of the SDK.
            message["schema"] = dict(sorted(message["schema"].items()))
        line = json.dumps(message, ensure_ascii=False)
        line = re.sub(r'("refreshed_at": )"[^"]+"', r'\1"…"', line)
        line = re.sub(r'("MS-ContinuationToken", )"[^"]+"', r'\1"…"', line)
        line = re.sub(r'("scope": )"[0-9a-f]{16}"', r'\1"…"', line)
        text.append(re.sub(r'("version": )\d+', r"\g<1>0", line))
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("requests_at_once", [1, 8, 32])
@pytest.mark.parametrize("case", CASES)
def test_messages_are_those_of_the_golden_file(
    case: str, requests_at_once: int, start: Start, sync: Sync, request: pytest.FixtureRequest
) -> None:
    """SCHEMA, RECORD, STATE and ACTIVATE_VERSION match the file at any concurrency."""
    options, settings = CASES[case]
    emulator = start(**{"customers": 5, **options})
    if "skipped" in case:
        second = list(emulator.customers())[1]["id"]
        refusal = Fault(place="relationships", customer_id=second, status=403, code=20002)
        emulator.faults = [refusal]
    result = sync(emulator, page_size=3, max_concurrent_requests=requests_at_once, **settings)
    assert result.exit_code == 0
    path = GOLDEN / f"{case}.jsonl"
    if request.config.getoption("--update-golden"):
        path.write_text(lines(result), encoding="utf-8")
    assert lines(result) == path.read_text(encoding="utf-8")
