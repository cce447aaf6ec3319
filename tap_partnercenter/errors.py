"""The errors that a caller can get.

::

    PartnerCenterError          the run, or one stream, cannot continue: one line for the operator
    ├── ConnectionFailed        no usable response after all retries
    └── Refused                 the service said no; knows the rule of the table
        ├── SkippedCustomer     no to this customer only; the run continues
        ├── ExpiredCheckpoint   no to a stored continuation; the stream starts again
        └── RefusedContinuation no to one of this run: the end of the data, or a new start
    TryAgain                    inside the retried call only; never leaves it
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from singer_sdk.exceptions import FatalAPIError, RetriableAPIError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_partnercenter.outcomes import Rule


class PartnerCenterError(FatalAPIError):
    """The run, or one stream, cannot continue. The message is one line for an operator.

    Attributes:
        final: Whether each later run certainly fails as well, until somebody changes a setting.
    """

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class ConnectionFailed(PartnerCenterError):
    """There was no usable response after all retries.

    Attributes:
        silent: Whether there was no response at all.
    """

    def __init__(self, message: str, *, silent: bool = False) -> None:
        super().__init__(message)
        self.silent = silent


class Refused(PartnerCenterError):
    """The service refused the request, and retrying won't help.

    Attributes:
        rule: The matching row of the table.
        reason: Status, code and meaning, without the request.
    """

    def __init__(self, message: str, rule: Rule, reason: str) -> None:
        super().__init__(message)
        self.rule = rule
        self.reason = reason


class SkippedCustomer(Refused):
    """The service refused the records of one customer."""


class ExpiredCheckpoint(Refused):
    """The service no longer knows a stored continuation."""


class RefusedContinuation(Refused):
    """The service refused a continuation that it sent in this run."""


class TryAgain(RetriableAPIError):
    """An attempt failed in a way that a retry may fix. Never leaves the retried call.

    Attributes:
        rule: The matching row of the table.
        reason: What went wrong, in words without data of the response.
        retry_after: Seconds the server asks us to wait, None if it names none.
        support_ids: Ids for Microsoft support, as a sentence; empty without a response.
    """

    def __init__(
        self, rule: Rule, reason: str, *, retry_after: float | None = None, support_ids: str = ""
    ) -> None:
        super().__init__(reason)
        self.rule = rule
        self.reason = reason
        self.retry_after = retry_after
        self.support_ids = support_ids


@contextmanager
def requires_extra(extra: str, needed_by: str) -> Iterator[None]:
    """Name the extra of this package to install if an import fails.

    Raises:
        PartnerCenterError: If the library is missing that `needed_by`, a setting or command, needs.
    """
    try:
        yield
    except ImportError:
        message = (
            f"{needed_by} needs a library that is missing: install tap-partnercenter[{extra}]."
        )
        raise PartnerCenterError(message) from None
