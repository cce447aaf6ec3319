"""Wrong settings: all named at once, before any request, and without repeating secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from partnercenter_emulator import Fault
from tap_partnercenter.clouds import CLOUDS
from tap_partnercenter.settings import CONFIG_JSONSCHEMA, Settings, problems
from tests.command_line import FINAL, GOOD, catalog_of, run_tap
from tests.conftest import KEY
from tests.planted import CLIENT_SECRET

if TYPE_CHECKING:
    from tests.conftest import Start, Sync


def test_all_wrong_settings_are_reported_at_once() -> None:
    """One line for each, and no request until they are fixed."""
    result = run_tap(config={"page_size": 900, "reseller_ids": ["9b1de2aa"], "cloud": "moon"})
    assert result.exit_code == FINAL
    reported = [line.split()[0] for line in result.levels("ERROR")]
    assert reported == [
        "tenant_id",
        "client_id",
        "client_secret",
        "cloud",
        "reseller_ids[0]",
        "page_size",
    ]
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"shard_count": 4, "shard_index": 4},
            "shard_index must be less than shard_count, which is 4, not 4.",
        ),
        ({"shard_index": 1}, "shard_index must be less than shard_count, which is 1, not 1."),
        (
            {"shard_count": 2, "emit_activate_version_messages": True},
            "emit_activate_version_messages must be false if shard_count is greater than 1: ",
        ),
        ({"shard_count": 0, "shard_index": 3}, "shard_count must be a whole number of 1 or more"),
        ({"token_cache_path": "postgresql://host/name"}, "token_cache_key is missing. Key that"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], reason: str) -> None:
    """Reported together with other errors, before any request."""
    result = run_tap(config={**GOOD, **settings, "page_size": 0})
    assert result.exit_code == FINAL
    (reported,) = [line for line in result.levels("ERROR") if not line.startswith("page_size ")]
    assert reported.startswith(reason)
    assert len(result.levels("ERROR")) == 2


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("tenant_id", "common", "must be a GUID or a domain"),
        ("tenant_id", "a/b.example", "must be a GUID or a domain"),
        ("tenant_id", 7, "must be text"),
        ("client_secret", "", "is missing"),
        ("client_secret", None, "is missing"),
        ("client_secret", 12345678, "must be text"),
        ("client_secret", ["12345678"], "must be text"),
        ("refresh_token", {"a": "12345678"}, "must be text"),
        ("cloud", "germany", "must be one of global, us_government, china"),
        ("api_url", "http://example.com", "must start with https://"),
        ("api_url", "https://api.partnercenter.microsoft.com/v1", "must be an origin without"),
        ("api_url", "https://user:12345678@example.com", "must not contain a user name"),
        ("api_url", "https://example.com:port", "is not a URL"),
        ("auth_url", "https://example.com?tenant=1", "must be an origin without a path"),
        ("auth_url", "login.microsoftonline.com", "must be an origin without a path"),
        ("auth_url", "https://", "must start with https://"),
        ("reseller_ids", "9b1de2aa-7777-4888-9999-aaaabbbbcccc", "must be a list of GUIDs"),
        (
            "reseller_ids",
            ["9b1de2aa-7777-4888-9999-aaaabbbbcccc", ""],
            "reseller_ids[1] must be a GUID",
        ),
        ("reseller_ids", [12345678], "reseller_ids[0] must be a GUID"),
        ("page_size", 0, "must be a whole number from 1 to 500, not 0"),
        ("page_size", 501, "must be a whole number from 1 to 500, not 501"),
        ("page_size", "500", "must be a whole number"),
        ("page_size", True, "must be a whole number"),
        ("page_size", 2.5, "must be a whole number"),
        ("max_concurrent_requests", 65, "must be a whole number from 1 to 64"),
        ("max_requests_per_minute", 0, "must be a whole number from 1 to 1000000"),
        ("max_requests_per_minute", 10**400, "must be a whole number from 1 to 1000000"),
        ("request_timeout", 10**10, "must be a whole number from 1 to 3600"),
        ("max_retry_seconds", 10**400, "must be a whole number from 0 to 604800"),
        ("client_id", "2f3a9c10\n", "contains a non-printable character"),
        ("client_secret", "12345678\r\n", "contains a non-printable character"),
        ("refresh_token", "12345678\0", "contains a non-printable character"),
        ("token_cache_path", "12345678\0", "contains a non-printable character"),
        ("token_cache_path", "mysql://root:12345678@host/name", "must be a path, or an address"),
        (
            "token_cache_path",
            "postgresql://u:p@12345678@host/name",
            "must be a path, or an address",
        ),
        ("token_cache_path", "postgresql://u@host:a12345678/name", "must be a path, or an address"),
        ("token_cache_path", "postgresql://[12345678/name", "must be a path, or an address"),
        (
            "token_cache_path",
            "postgresql://u@host:1/name@12345678",
            "must be a path, or an address",
        ),
        ("token_cache_path", "postgresql://host", "must be a path, or an address such as"),
        ("token_cache_key", "12345678", "must be 32 bytes in URL-safe Base64, or several"),
        ("token_cache_key", "é12345678", "must be 32 bytes in URL-safe Base64, or several"),
        ("client_certificate_path", "12345678\0", "contains a non-printable character"),
        ("auth_url", "https://login.example.com ", "is not a URL"),
        ("auth_url", "https://login example.com", "is not a URL"),
        ("api_url", "https://api..example.com", "is not a URL"),
        ("user_agent", " ", "must be printable ASCII without leading or trailing spaces"),
        ("max_skipped_customers", -1, "must be a whole number of 0 or more"),
        ("user_agent", "tap\r\nHost: example.org", "must be printable ASCII"),
        ("emit_activate_version_messages", "yes", "must be true or false"),
        ("flattening_max_depth", "12345678", "must be a whole number"),
        ("stream_map_config", ["12345678"], "must be an object"),
        ("faker_config", {"seed": {"a": "12345678"}}, "faker_config.seed is not valid"),
        ("stream_maps", ["12345678"], "must be an object"),
        ("stream_maps", {"__else__": "12345678"}, "__else__ must be null or __NULL__"),
        ("stream_maps", {"customers": {"short": "id["}}, "customers: short is not a valid expr"),
        ("stream_maps", {"customers": {"__alias__": 7}}, "customers: __alias__ must be text"),
        ("stream_maps", {"customers": "12345678"}, "customers must be null or __NULL__, to leave"),
        ("stream_maps", {"customers": {"id": 12345678}}, "customers: id must be null, to leave"),
        ("stream_maps", {"customers": {"__filter__": None}}, "customers: __filter__ must be text"),
        ("stream_maps", {"customers": {"__else__": "id"}}, "customers: __else__ must be null or"),
        ("stream_maps", {"customers": {"__key_properties__": "id"}}, "must be a list of fields"),
    ],
)
def test_a_wrong_setting_is_reported_by_name(name: str, value: object, reason: str) -> None:
    """The line says which setting, and what it accepts."""
    result = run_tap(config={**GOOD, name: value})
    assert result.exit_code == FINAL
    assert reason in result.error
    assert name in result.error
    assert "12345678" not in result.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tenant_id", "0F3A9C10-1111-4222-8333-444455556666"),
        ("api_url", "http://127.0.0.1:8080"),
        ("api_url", "http://[::1]:8080/"),
        ("api_url", "http://localhost"),
        ("auth_url", "https://login.chinacloudapi.cn/"),
        ("reseller_ids", []),
        ("reseller_ids", None),
        ("refresh_token", ""),
        ("token_cache_path", "postgresql+psycopg://u:a:b/c%40@[::1]:5432/db?sslmode=require"),
        ("token_cache_path", "postgresql://u@h1,h2/db?host=%2Fvar%2Frun"),
        ("page_size", 1),
        ("max_skipped_customers", 0),
    ],
)
def test_good_settings_pass(name: str, value: object) -> None:
    """The limits of what is accepted."""
    config = {**GOOD, "token_cache_key": KEY, name: value}
    assert problems(config, CONFIG_JSONSCHEMA) == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_cloud_sets_the_three_addresses(cloud: str) -> None:
    """API, authority and audience follow from one setting; the first two can be overridden."""
    settings = Settings.from_config({**GOOD, "cloud": cloud})
    assert (settings.api_url, settings.auth_url) == (CLOUDS[cloud].api_url, CLOUDS[cloud].auth_url)
    assert "graph" not in settings.cloud.resource
    own = Settings.from_config({**GOOD, "cloud": cloud, "api_url": "https://a.example/"})
    assert own.api_url == "https://a.example"


def test_an_unknown_setting_causes_a_warning(start: Start, sync: Sync) -> None:
    """A misspelt setting has no effect, so the user should know. Odd names may be secrets."""
    odd: dict[str, Any] = {
        "reseller_id": ["9b1de2aa-7777-4888-9999-aaaabbbbcccc"],
        CLIENT_SECRET: "",
    }
    result = sync(start(), **odd)
    assert result.exit_code == 0
    assert result.levels("WARNING") == [
        "There is no setting reseller_id (did you mean reseller_ids?): it has no effect.",
        "There is no setting (invalid name): it has no effect.",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_config", {"encoding": {"format": "jsonl"}, "storage": {"root": "file:///tmp"}}),
        ("start_date", "2020-01-01T00:00:00Z"),
    ],
)
def test_a_setting_of_other_taps_has_no_effect(
    name: str, value: Any, start: Start, sync: Sync
) -> None:
    """The SDK obeys some without asking. Rows in files would have no version, and be deleted."""
    emulator = start()
    streams = catalog_of("audit_records", "customers", "customer_relationships")
    plain = sync(emulator, catalog=streams)
    result = sync(emulator, catalog=streams, **{name: value})
    (warning,) = result.levels("WARNING")
    assert warning.startswith(f"There is no setting {name}")
    assert result.counts == plain.counts
    for stream in ("audit_records", "customers", "customer_relationships"):
        assert result.records(stream) == plain.records(stream)


@pytest.mark.parametrize("selected", [True, False])
def test_a_reseller_that_the_service_does_not_list_causes_a_warning(
    selected: bool,  # noqa: FBT001
    start: Start,
    sync: Sync,
) -> None:
    """A wrong id looks like a reseller without customers, unless the list of resellers is read.

    Ids in upper case are the same ids.
    """
    emulator = start(resellers=2)
    right = str(next(iter(emulator.resellers()))["id"])
    listed = [{**one, "id": str(one["id"]).upper()} for one in emulator.resellers()]
    emulator.faults = [Fault(place="resellers", json={"items": listed})]
    wrong = right[:-1] + ("1" if right[-1] == "0" else "0")
    streams = {"reseller_customers", *(["indirect_resellers"] if selected else [])}
    result = sync(emulator, catalog=catalog_of(*streams), reseller_ids=[right.upper(), wrong])
    assert result.exit_code == 0
    reported = (
        f"indirect_resellers: reseller_ids lists {wrong} (did you mean {right}?), which the "
        "service did not return"
    )
    assert result.levels("WARNING") == ([reported] if selected else [])


def test_a_reseller_of_an_interrupted_run_causes_no_warning(start: Start, sync: Sync) -> None:
    """A resumed list does not contain those on its first pages."""
    emulator = start(resellers=2)
    first, second = emulator.resellers()
    link = {"uri": "/relationships?seekOperation=Next", "method": "GET"}
    emulator.faults = [
        Fault(place="resellers", times=1, json={"items": [first], "links": {"next": link}}),
        Fault(place="any", skip=2, times=1, status=501),
        Fault(place="any", skip=4, times=1, json={"items": [second]}),
    ]
    settings: dict[str, Any] = {
        "catalog": catalog_of("indirect_resellers"),
        "reseller_ids": [first["id"], second["id"]],
    }
    interrupted = sync(emulator, **settings)
    assert interrupted.exit_code == 1
    result = sync(emulator, state=interrupted.state, **settings)
    assert result.exit_code == 0
    assert result.keys("indirect_resellers", "id") == [(second["id"],)]
    assert result.levels("WARNING") == []


def test_flattening_needs_a_depth() -> None:
    """The SDK checks it, and its message is printed."""
    result = run_tap(config={**GOOD, "flattening_enabled": True})
    assert result.error == "flattening_max_depth is required when flattening is enabled"


def test_the_settings_of_the_sdk_are_known(start: Start, sync: Sync) -> None:
    """A warning that one of them has no effect would be wrong."""
    result = sync(start(), stream_maps={}, stream_map_config={}, flattening_enabled=False)
    assert result.exit_code == 0
    assert result.levels("WARNING") == []


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"short": "companyProfile['nickname']"}, "KeyError"),
        ({"__filter__": "companyProfile['nickname'] == 'x'"}, "KeyError"),
        ({"short": "sha256(1)"}, "AttributeError"),
        ({"short": "1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_a_stream_map_that_does_not_fit_a_record(
    changes: dict[str, str], failure: str, start: Start, sync: Sync
) -> None:
    """It shows only on a record: the line names stream and setting, and quotes nothing from it."""
    emulator = start(customers=3)
    result = sync(emulator, stream_maps={"customers": changes})
    assert result.exit_code == 1
    assert result.error == (
        f"customers: stream_maps: an expression failed on a record ({failure}). A field may be "
        "missing or null: read it with get(), or test for it first."
    )
