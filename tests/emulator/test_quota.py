"""Throttling, with an injected clock."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from partnercenter_emulator import Emulator, Options

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

PATH = "/v1/customers?size=1"


class _Partner:
    """An emulator with a quota, a client and a clock."""

    def __init__(self, sign_in: SignIn, **options: Any) -> None:
        self.now = 1_800_000_000.0
        settings = {"customers": 5, "requests_per_minute": 3} | options
        self.emulator = Emulator(Options(**settings), clock=lambda: self.now)
        self.emulator.start()
        self.client = sign_in(self.emulator)

    def __enter__(self) -> _Partner:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.emulator.stop()

    def ask(self, count: int = 1, path: str = PATH) -> list[int]:
        return [self.client.get(path).status_code for _ in range(count)]


def test_a_fixed_window_opens_again_at_its_end(sign_in: SignIn) -> None:
    """Three requests pass, the rest wait for the window's end; early retries change nothing."""
    with _Partner(sign_in) as partner:
        assert partner.ask(4) == [200, 200, 200, 429]
        partner.now += 59.5
        refused = partner.client.get(PATH)
        assert refused.headers["Retry-After"] == "1"
        assert refused.json().keys() == {"statusCode", "message"}
        partner.now += 0.5
        assert partner.ask(4) == [200, 200, 200, 429]


def test_a_sliding_window_counts_refused_requests(sign_in: SignIn) -> None:
    """A client that keeps sending is refused each time."""
    with _Partner(sign_in, quota_model="sliding_window") as partner:
        assert partner.ask(3) == [200, 200, 200]
        partner.now += 30
        assert partner.ask(3) == [429, 429, 429]
        partner.now += 30
        assert partner.client.get(PATH).headers["Retry-After"] == "30"
        partner.now += 30
        assert partner.ask(2) == [200, 200]


def test_a_sliding_window_may_forgive_refused_requests(sign_in: SignIn) -> None:
    """Without the penalty only accepted requests count."""
    with _Partner(sign_in, quota_model="sliding_window", count_refused=False) as partner:
        assert partner.ask(5) == [200, 200, 200, 429, 429]
        partner.now += 60
        assert partner.ask(3) == [200, 200, 200]


def test_a_token_bucket_fills_evenly(sign_in: SignIn) -> None:
    """A burst passes at once, then one request every 20 seconds; refusals have a cost too."""
    with _Partner(sign_in, quota_model="token_bucket", burst=2) as partner:
        assert partner.ask(2) == [200, 200]
        refused = partner.client.get(PATH)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "40")
        partner.now += 40
        assert partner.ask(2) == [200, 429]


def test_a_token_bucket_may_forgive_refused_requests(sign_in: SignIn) -> None:
    """Without the penalty the next request passes as soon as the bucket has one token."""
    with _Partner(sign_in, quota_model="token_bucket", burst=1, count_refused=False) as partner:
        assert partner.ask(3) == [200, 429, 429]
        partner.now += 20
        assert partner.ask(2) == [200, 429]


def test_the_window_may_be_shorter_than_a_minute(sign_in: SignIn) -> None:
    """The quota applies to the window, whatever its length."""
    with _Partner(sign_in, window_seconds=0.25) as partner:
        assert partner.ask(4) == [200, 200, 200, 429]
        partner.now += 0.25
        assert partner.ask(1) == [200]


def test_retry_after_may_be_a_date_or_missing(sign_in: SignIn) -> None:
    """A date is the second in which a request passes."""
    with _Partner(sign_in, retry_after="date") as partner:
        partner.ask(3)
        text = partner.client.get(PATH).headers["Retry-After"]
        assert parsedate_to_datetime(text).timestamp() == partner.now + 60
        partner.emulator.configure(retry_after="none")
        assert "Retry-After" not in partner.client.get(PATH).headers


def test_a_quota_may_belong_to_each_customer(sign_in: SignIn) -> None:
    """One customer's requests do not use up another's; lists share the tenant's."""
    with _Partner(sign_in, quota_scope="customer", requests_per_minute=1) as partner:
        first, second, *_ = (
            f"/v1/customers/{customer['id']}/relationships"
            for customer in partner.emulator.customers()
        )
        assert partner.ask(2, first) == [200, 429]
        assert partner.ask(1, second) == [200]
        assert partner.ask(2) == [200, 429]


def test_requests_inside_retry_after_are_counted(sign_in: SignIn) -> None:
    """The statistics count requests that did not wait."""
    with _Partner(sign_in) as partner:
        partner.ask(4)
        partner.now += 30
        partner.ask(2)
        partner.now += 30
        partner.ask(1)
        stats = partner.emulator.stats()
        assert (stats.refused, stats.inside_retry_after) == (3, 2)


def test_a_quota_may_be_changed_at_run_time(sign_in: SignIn) -> None:
    """A new quota starts unused; changing other options keeps the old one's usage."""
    with _Partner(sign_in) as partner:
        assert partner.ask(4)[-1] == 429
        partner.emulator.configure(bom="none", requests_per_minute=3)
        assert partner.ask() == [429]
        partner.emulator.configure(requests_per_minute=4)
        assert partner.ask(5) == [200, 200, 200, 200, 429]
        partner.emulator.configure(requests_per_minute=0)
        assert partner.ask(9) == [200] * 9


def test_tokens_and_refused_tokens_use_no_quota(sign_in: SignIn) -> None:
    """Only requests with a valid token count."""
    with _Partner(sign_in) as partner:
        for _ in range(5):
            assert partner.client.get(PATH, headers={"Authorization": "x"}).status_code == 401
            sign_in(partner.emulator)
        assert partner.ask(3) == [200, 200, 200]
