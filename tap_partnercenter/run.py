"""The objects that live for one run and are shared by its streams."""

from __future__ import annotations

import gc
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tap_partnercenter.auth import TokenAuthenticator
from tap_partnercenter.client import Client
from tap_partnercenter.lookahead import Pool
from tap_partnercenter.pacing import Gate
from tap_partnercenter.report import Report
from tap_partnercenter.retry import RetryPolicy
from tap_partnercenter.settings import TAP_VERSION
from tap_partnercenter.transport import Transport

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

    from tap_partnercenter.clock import Clock
    from tap_partnercenter.settings import Settings


#: Allocated objects between garbage collections: several pages of customers.
_GC_THRESHOLD = 50_000
#: Seconds for which the main thread keeps the interpreter while another has a response to parse.
_SWITCH_INTERVAL = 0.0005


@contextmanager
def tuned() -> Iterator[None]:
    """Set up the interpreter for a run: thousands of records, and threads that mostly wait.

    Imported objects stay and records have no reference cycles. Collecting garbage among them would
    take a quarter of the time per record.
    """
    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *threshold[1:])
    sys.setswitchinterval(_SWITCH_INTERVAL)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)


class Run:
    """One run of the tap.

    Attributes:
        settings: As configured.
        correlation_id: Lets Microsoft support find all requests of the run.
    """

    def __init__(self, settings: Settings, *, clock: Clock, logger: logging.Logger) -> None:
        self.settings = settings
        self.clock = clock
        self.correlation_id = str(uuid.uuid4())
        # Headers of every request to the API ("Partner Center REST headers").
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "MS-CorrelationId": self.correlation_id,
            "MS-PartnerCenter-Application": f"tap-partnercenter/{TAP_VERSION}",
            "User-Agent": settings.user_agent,
        }
        self.report = Report(clock=clock, logger=logger)
        self.gate = Gate(
            clock=clock,
            report=self.report,
            max_seconds=settings.max_retry_seconds,
            max_per_minute=settings.max_requests_per_minute,
        )
        self.transport = Transport(
            connections=settings.max_concurrent_requests, response_timeout=settings.request_timeout
        )
        self.pool = Pool(settings.max_concurrent_requests)
        self.retry_policy = RetryPolicy(
            clock=clock,
            report=self.report,
            gate=self.gate,
            max_seconds=settings.max_retry_seconds,
        )
        self.authenticator = TokenAuthenticator(
            settings,
            transport=self.transport,
            retry_policy=self.retry_policy,
            clock=clock,
            logger=self.report.live_logger,
        )
        self.client = Client(
            settings,
            headers,
            authenticator=self.authenticator,
            gate=self.gate,
            retry_policy=self.retry_policy,
            report=self.report,
            transport=self.transport,
        )

    @property
    def app_only(self) -> bool:
        """Whether the tap signs in as an application, without a user."""
        return self.authenticator.refresh_tokens.app_only

    def close(self) -> None:
        """End the threads and the connections."""
        self.pool.close()
        self.transport.close()
