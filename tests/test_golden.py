"""Whole message streams, as files: any change of the output shows as a difference in review.

`pytest tests/test_golden.py --update-golden` writes the files anew.
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
EXTRA = [Fault(place="relationships", skip=1, times=1, status=403, code=20002)]
DELETES = {"emit_activate_version_messages": True}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[Fault]]] = {
    "every_stream": ({"link_form": "relative"}, {}, []),
    "tokens_in_bodies": ({"link_form": "token_only", "ending": "code_2000"}, {}, []),
    "deletes": ({"link_form": "versioned"}, DELETES, []),
    "deletes_with_a_skipped_customer": ({"link_form": "absolute"}, DELETES, EXTRA),
    "flattened": ({"customers": 2}, {"flattening_enabled": True, "flattening_max_depth": 1}, []),
}


def lines(result: Result) -> str:
    """The messages without what differs from run to run: times, versions, continuation tokens."""
    text = []
    for message in result.messages:
        if "time_extracted" in message:
            message["time_extracted"] = "…"
        if "version" in message:
            message["version"] = 0
        line = json.dumps(message, ensure_ascii=False)
        line = re.sub(r'("MS-ContinuationToken", )"[^"]+"', r'\1"…"', line)
        text.append(re.sub(r'("version": )\d+', r"\g<1>0", line))
    return "\n".join(text) + "\n"


@pytest.mark.parametrize("case", CASES)
def test_messages_are_those_of_the_golden_file(
    case: str,
    start: Start,
    sync: Sync,
    request: pytest.FixtureRequest,
) -> None:
    """SCHEMA, RECORD, STATE and ACTIVATE_VERSION come as the file shows."""
    options, settings, faults = CASES[case]
    result = sync(start(*faults, **{"customers": 5, **options}), page_size=3, **settings)
    assert result.exit_code == 0
    path = GOLDEN / f"{case}.jsonl"
    if request.config.getoption("--update-golden"):
        path.write_text(lines(result), encoding="utf-8")
    assert lines(result) == path.read_text(encoding="utf-8")
