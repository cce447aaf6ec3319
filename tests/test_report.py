"""What a run reports: little, in time, and with a live bar on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from partnercenter_emulator import Fault
from tests.command_line import catalog_of

if TYPE_CHECKING:
    from tests.conftest import Start, Sync


def test_a_long_run_reports_its_progress(start: Start, sync: Sync) -> None:
    """At most one line of progress in half a minute, with the partition being read."""
    slow = Fault(place="partition", status=503, headers={"Retry-After": "40"}, times=3)
    emulator = start(slow, customers=40, resellers=4)
    result = sync(emulator, catalog=catalog_of("reseller_customers"), max_concurrent_requests=1)
    assert result.exit_code == 0
    progress = [line for line in result.log if "reseller_customers (" in line]
    assert 3 <= len(progress) <= 4
    assert "(1 of 4 partitions): 0 records" in progress[0]
    assert "of 4 partitions): " in progress[0]
    assert "3 retries" in result.log[-1]
    assert "120 s waited" in result.log[-1]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_run_without_any_response_says_that_it_is_alive(
    concurrency: int, start: Start, sync: Sync
) -> None:
    """Lines also come while nothing is received, and none of them claims a record."""
    slow = Fault(place="token", status=503, headers={"Retry-After": "100"}, times=2)
    result = sync(start(slow, customers=3), max_concurrent_requests=concurrency)
    assert result.exit_code == 0
    reported = [line for line in result.log if line.startswith("customers: 0 records, ")]
    assert 5 <= len(reported) <= 7
    reason = "the token endpoint returned HTTP 503 temporarily_unavailable AADSTS90033"
    assert f"Retrying for up to 900 s: {reason}" in result.log
    assert "200 s waited" in result.log[-1]


def test_throttling_is_reported_periodically(start: Start, sync: Sync) -> None:
    """The operator sees that the tap waits, why, and for how long; not each time."""
    refusal = Fault(place="relationships", status=429, headers={"Retry-After": "7"}, times=3)
    result = sync(start(refusal, customers=3), max_concurrent_requests=1)
    assert result.exit_code == 0
    reported = [line for line in result.log if "Throttled" in line]
    assert reported[0] == "Throttled by the service (HTTP 429): no requests for 7 s"
    # Repeated refusals add a random time to the wait.
    assert len(reported) <= 1 + sum(result.waits) // 30


def test_every_stream_has_its_line_and_the_run_a_summary(start: Start, sync: Sync) -> None:
    """The last lines of the log say what was loaded."""
    # On the test's clock, waiting for another thread's answer takes no time but still counts.
    result = sync(start(customers=5, resellers=1), max_concurrent_requests=1)
    assert "customers: 5 records" in result.log
    assert "indirect_resellers: 1 record" in result.log
    assert not any("children of all customers are read" in line for line in result.log)
    assert result.log[-1].startswith("complete: ")
    assert "0 retries, 0 s waited, 0 customers skipped" in result.log[-1]


def test_one_is_counted_in_the_singular(start: Start, sync: Sync) -> None:
    """One record, request, retry, skipped customer, partition: in each line with a count."""
    faults = [
        Fault(place="relationships", times=1, status=403, code=20002),
        Fault(place="resellers", times=1, status=503),
        Fault(place="customers", times=1, status=401, code=900421),
    ]
    emulator = start(*faults, customers=3, resellers=1)
    # Lines of progress come while the service is unavailable.
    faults.append(Fault(place="partition", times=3, status=503, headers={"Retry-After": "31"}))
    emulator.faults = faults
    catalog = catalog_of("customers", "customer_relationships", "reseller_customers")
    refused = sync(emulator, catalog=catalog, emit_activate_version_messages=True)
    assert refused.exit_code == 0, refused.stderr
    reported = "\n".join(refused.log)
    assert "1 customer skipped; their records are missing: " in reported
    assert "1 customer skipped, so deletes are disabled" in reported
    assert "1 request refused at first: HTTP 401" in reported
    assert "reseller_customers (1 of 1 partition): " in reported
    assert not re.findall(r"\b1 (?:customer|record|request|partition|row)s\b|\b1 retries", reported)


def test_nothing_is_reported_after_the_end(
    start: Start, sync: Sync, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that is still running when the run fails logs nothing more."""
    monkeypatch.setenv("TAP_PARTNERCENTER_LOGLEVEL", "DEBUG")
    caplog.set_level("DEBUG")
    emulator = start(customers=2)
    first, second = (str(customer["id"]) for customer in emulator.customers())
    emulator.faults = [
        Fault(place="relationships", customer_id=first, hang=0.3, status=409),
        Fault(place="relationships", customer_id=second, hang=0.6, reset=True),
    ]
    before = {*threading.enumerate()}
    result = sync(emulator, catalog=catalog_of("customers", "customer_relationships"))
    # The log ends with the error and its traceback.
    assert result.log[-2].startswith("customer_relationships: HTTP 409")
    assert result.log[-1].startswith("Traceback")
    for thread in {*threading.enumerate()} - before:
        if thread.name.startswith("fetch-"):
            thread.join()
    assert emulator.stats().by_place["relationships"] == {"0": 1, "409": 1}
    assert not [record for record in caplog.records if record.message.startswith("Attempt ")]


def test_a_terminal_shows_a_progress_bar(start: Start) -> None:
    """If stderr is a terminal the progress is a bar; stdout still holds only messages."""
    # As many as fit into a pipe that is not read meanwhile.
    emulator = start(customers=15)
    terminal, ours = os.openpty()
    termios.tcsetwinsize(ours, (24, 120))
    run = subprocess.Popen(
        [sys.executable, "-m", "tap_partnercenter", "--config", "ENV"],
        env={**os.environ, **emulator.environment(), "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=ours,
    )
    os.close(ours)
    shown = b""
    try:
        while block := os.read(terminal, 65536):
            shown += block
    except OSError:  # a terminal's end of file
        pass
    finally:
        os.close(terminal)
    stdout, _ = run.communicate()
    assert run.returncode == 0
    assert b" records/s" in shown
    assert b"complete: " in shown
    assert all(line.startswith(b"{") for line in stdout.splitlines())
