"""`GET /v1/customers`: pages, links, endings, sizes and filters."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias, get_args
from urllib.parse import quote, quote_plus

import pytest
import requests

from partnercenter_emulator import Credentials, Emulator, Options
from partnercenter_emulator.options import Ending, LinkForm
from tests.emulator.conftest import Page

if TYPE_CHECKING:
    from tests.emulator.conftest import SignIn

ReadAll: TypeAlias = Callable[[requests.Session, str], list[Page]]
Follow: TypeAlias = Callable[[requests.Session, Page, str], requests.Response | None]

LINK_FORMS = get_args(LinkForm)
SMALL = Options(customers=23, resellers=3)


def _filter(value: str, field: str = "IndirectReseller", **changes: str) -> str:
    members = {"Field": field, "Value": value, "Operator": "starts_with"} | changes
    return "filter=" + quote(json.dumps(members, separators=(",", ":")), safe="")


def _ids(pages: list[Page]) -> list[str]:
    return [item["id"] for page in pages for item in page["items"]]


def _token(page: Page) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in page["links"]["next"]["headers"]}


def _refusal(response: requests.Response) -> tuple[int, object]:
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize("form", LINK_FORMS)
def test_every_link_form_leads_through_all_customers_once(
    form: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """A client that follows links and tokens reads each customer once, in order."""
    with Emulator(SMALL) as emulator:
        emulator.configure(link_form=form)
        pages = read_all(sign_in(emulator), "/v1/customers?size=3")
        assert _ids(pages) == [customer["id"] for customer in emulator.customers()]
        assert [len(page["items"]) for page in pages] == [3] * 7 + [2]


@pytest.mark.parametrize("form", LINK_FORMS)
def test_every_link_form_leads_through_a_partition(
    form: str, sign_in: SignIn, read_all: ReadAll
) -> None:
    """A filtered list keeps its filter from page to page."""
    with Emulator(Options(customers=60, resellers=2)) as emulator:
        emulator.configure(link_form=form)
        client = sign_in(emulator)
        for reseller in emulator.resellers():
            members = [
                pair["customer_id"]
                for pair in emulator.memberships()
                if pair["reseller_id"] == reseller["id"]
            ]
            path = f"/v1/customers?size=4&{_filter(reseller['id'].upper())}"
            assert _ids(read_all(client, path)) == members


@pytest.mark.parametrize(
    ("form", "uri"),
    [
        ("relative", "/customers?size=2&seekOperation=Next"),
        ("versioned", "/v1/customers?size=2&seekOperation=Next"),
        ("absolute", "{url}/v1/customers?size=2&seekOperation=Next"),
        ("double_question", "/customers?size=2?seekOperation=Next"),
    ],
)
def test_a_link_is_written_in_its_form(form: str, uri: str, sign_in: SignIn) -> None:
    """Each form of the next URI matches its name."""
    with Emulator(SMALL) as emulator:
        emulator.configure(link_form=form)
        page = sign_in(emulator).get("/v1/customers?size=2").json()
        assert page["links"]["next"]["uri"] == uri.format(url=emulator.url)
        assert page["links"]["next"]["method"] == "GET"


def test_rotation_shows_every_form(sign_in: SignIn, read_all: ReadAll) -> None:
    """Neighbouring pages have different forms of links."""
    with Emulator(Options(customers=12, link_form="rotate")) as emulator:
        pages = read_all(sign_in(emulator), "/v1/customers?size=2")
        links = [page["links"].get("next", {"uri": "none"})["uri"] for page in pages[:5]]
        assert len(set(links)) == 5


def test_token_only_pages_have_no_next_link(sign_in: SignIn) -> None:
    """Only the body has the token."""
    with Emulator(Options(customers=5, link_form="token_only")) as emulator:
        page = sign_in(emulator).get("/v1/customers?size=2").json()
        assert page["continuationToken"]
        assert "next" not in page["links"]


def test_a_double_question_mark_may_be_followed_verbatim(sign_in: SignIn) -> None:
    """The odd link works as it is, but a client must not invent one."""
    with Emulator(SMALL) as emulator:
        emulator.configure(link_form="double_question")
        client = sign_in(emulator)
        page = client.get("/v1/customers?size=2").json()
        path = "/v1" + page["links"]["next"]["uri"]
        assert client.get(path, headers=_token(page)).status_code == 200
        assert _refusal(client.get("/v1/customers?size=2?filter=")) == (400, 2000)
        emulator.configure(link_form="relative")
        page = client.get("/v1/customers?size=2").json()
        assert _refusal(client.get(path, headers=_token(page))) == (400, 2000)


def test_tokens_have_characters_that_need_escaping(sign_in: SignIn, read_all: ReadAll) -> None:
    """Slash, plus, equals sign and comma are in every token."""
    with Emulator(Options(customers=40)) as emulator:
        pages = read_all(sign_in(emulator), "/v1/customers?size=1")
        for page in pages[:-1]:
            token = _token(page)["MS-ContinuationToken"]
            assert all(character in token for character in "/+=,")


def test_extra_link_headers_must_be_sent_back(sign_in: SignIn) -> None:
    """A client that copies only the token is refused; one that copies all headers is not."""
    with Emulator(Options(customers=5, extra_link_headers=True)) as emulator:
        client = sign_in(emulator)
        page = client.get("/v1/customers?size=2").json()
        path = "/v1" + page["links"]["next"]["uri"]
        headers = _token(page)
        assert len(headers) == 2
        assert client.get(path, headers=headers).status_code == 200
        del headers["X-Emulator-Shard"]
        assert _refusal(client.get(path, headers=headers)) == (400, 2000)


@pytest.mark.parametrize(
    ("ending", "links"),
    [
        ("plain", {"self"}),
        ("no_links", None),
        ("empty_links", set()),
        ("null_next", {"self", "next"}),
    ],
)
def test_the_last_page_ends_as_configured(
    ending: str, links: set[str] | None, sign_in: SignIn, read_all: ReadAll
) -> None:
    """Links may have no next, be empty, have a null next, or be missing."""
    with Emulator(SMALL) as emulator:
        emulator.configure(ending=ending)
        last = read_all(sign_in(emulator), "/v1/customers?size=10")[-1]
        assert (set(last["links"]) if "links" in last else None) == links
        assert (last.get("links") or {}).get("next") is None
        assert "continuationToken" not in last


def test_an_empty_page_may_end_a_list(sign_in: SignIn, read_all: ReadAll) -> None:
    """The last page with customers links to an empty one."""
    with Emulator(Options(customers=4, ending="empty")) as emulator:
        pages = read_all(sign_in(emulator), "/v1/customers?size=2")
        assert [len(page["items"]) for page in pages] == [2, 2, 0]


@pytest.mark.parametrize("ending", ["code_2000", "code_2000_link"])
def test_a_token_may_lead_past_the_end(ending: Ending, sign_in: SignIn, follow: Follow) -> None:
    """Following the last page's token returns 400 with code 2000, also in a partition."""
    with Emulator(Options(customers=4, resellers=1, ending=ending)) as emulator:
        client = sign_in(emulator)
        partition = f"/v1/customers?size=4&{_filter(next(emulator.resellers())['id'])}"
        for path in ("/v1/customers?size=4", partition):
            page = client.get(path).json()
            assert ("next" in page["links"]) == (ending == "code_2000_link")
            response = follow(client, page, path)
            assert response is not None
            assert _refusal(response) == (400, 2000)
        assert [request.place for request in emulator.requests][-1] == "partition_continuation"


def test_by_position_a_customer_that_leaves_moves_the_others_up(
    sign_in: SignIn, read_all: ReadAll, follow: Follow
) -> None:
    """Unlike by key, the next page then starts too late; without changes both read everyone."""
    with Emulator(Options(customers=6, continuation_by="position", ending="empty")) as emulator:
        ids = [str(customer["id"]) for customer in emulator.customers()]
        client, path = sign_in(emulator), "/v1/customers?size=2"
        pages = read_all(client, path)
        assert _ids(pages) == ids
        assert [len(page["items"]) for page in pages] == [2, 2, 2, 0]
        page = client.get(path).json()
        emulator.remove_customer(ids[0])
        response = follow(client, page, path)
        assert response is not None
        assert _ids([response.json()]) == ids[3:5]


def test_empty_pages_may_be_in_the_middle(sign_in: SignIn, read_all: ReadAll) -> None:
    """Every third page is empty and has a continuation; no customer is lost."""
    with Emulator(Options(customers=10, empty_page_every=3)) as emulator:
        pages = read_all(sign_in(emulator), "/v1/customers?size=2")
        assert [len(page["items"]) for page in pages] == [2, 2, 0, 2, 2, 0, 2]
        assert _ids(pages) == [customer["id"] for customer in emulator.customers()]


@pytest.mark.parametrize(
    ("kind", "counts"), [("page", [4, 4, 2]), ("all", [10, 10, 10]), ("wrong", [29, 3, 27])]
)
def test_total_count_counts_as_configured(
    kind: str, counts: list[int], sign_in: SignIn, read_all: ReadAll
) -> None:
    """It may be the page's, the list's, or neither: first larger, then smaller."""
    with Emulator(Options(customers=10)) as emulator:
        emulator.configure(total_count=kind)
        pages = read_all(sign_in(emulator), "/v1/customers?size=4")
        assert [page["totalCount"] for page in pages] == counts


@pytest.mark.parametrize(("query", "count"), [("", 500), ("?size=0", 500), ("?size=500", 500)])
def test_the_default_page_has_500_customers(query: str, count: int, sign_in: SignIn) -> None:
    """No size and size 0 mean the server's page size."""
    with Emulator(Options(customers=501)) as emulator:
        page = sign_in(emulator).get(f"/v1/customers{query}").json()
        assert len(page["items"]) == count
        assert "size=500&" in page["links"]["next"]["uri"]


@pytest.mark.parametrize("size", ["501", "-1", "x", "1.5", "²"])
def test_a_wrong_size_is_refused(size: str, sign_in: SignIn) -> None:
    """Values above 500 and non-numbers are bad input."""
    with Emulator(SMALL) as emulator:
        assert _refusal(sign_in(emulator).get(f"/v1/customers?size={size}")) == (400, 2000)


def test_the_server_may_make_smaller_pages(sign_in: SignIn, read_all: ReadAll) -> None:
    """With a page limit, a client that requests 500 gets more pages."""
    with Emulator(Options(customers=10, page_limit=4)) as emulator:
        pages = read_all(sign_in(emulator), "/v1/customers?size=500")
        assert [len(page["items"]) for page in pages] == [4, 4, 2]


def test_a_continuation_needs_both_its_parts(sign_in: SignIn) -> None:
    """seekOperation and token are both needed, in any case, with the same size and filter."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator)
        token = _token(client.get("/v1/customers?size=2").json())
        for path in ("", "&seekOperation=Previous", f"&seekOperation=Next&{_filter('a')}"):
            response = client.get(f"/v1/customers?size=2{path}", headers=token)
            assert _refusal(response) == (400, 2000)
        for path in ("/v1/customers?seekOperation=Next", "/v1/customers?size=2&seekOperation=next"):
            assert client.get(path, headers=token).status_code == 200
            assert _refusal(client.get(path)) == (400, 2000)
        other_size = "/v1/customers?size=3&seekOperation=Next"
        assert _refusal(client.get(other_size, headers=token)) == (400, 2000)


def test_a_bare_token_remembers_its_filter(sign_in: SignIn) -> None:
    """The filter may be sent again or left out, but not changed."""
    with Emulator(Options(customers=40, resellers=2, link_form="token_only")) as emulator:
        client = sign_in(emulator)
        first, second = (reseller["id"] for reseller in emulator.resellers())
        page = client.get(f"/v1/customers?size=2&{_filter(first)}").json()
        token = {"MS-ContinuationToken": page["continuationToken"]}
        path = "/v1/customers?size=2&seekOperation=Next"
        without = client.get(path, headers=token).json()
        assert without == client.get(f"{path}&{_filter(first)}", headers=token).json()
        assert _refusal(client.get(f"{path}&{_filter(second)}", headers=token)) == (400, 2000)


def test_a_foreign_or_modified_token_is_refused(sign_in: SignIn) -> None:
    """Another emulator's tokens, truncated or changed ones and garbage are all bad input."""
    path = "/v1/customers?size=2&seekOperation=Next"
    with Emulator(SMALL) as emulator, Emulator(SMALL) as other:
        token = _token(sign_in(other).get("/v1/customers?size=2").json())["MS-ContinuationToken"]
        client = sign_in(emulator)
        own = _token(client.get("/v1/customers?size=2").json())["MS-ContinuationToken"]
        changed = own[:-6] + ("A" if own[-6] != "A" else "B") + own[-5:]
        for text in (token, own[:-4], changed, own.upper(), "AQ==", "nonsense", ",", "é"):
            response = client.get(path, headers={"MS-ContinuationToken": text.encode("latin-1")})
            assert _refusal(response) == (400, 2000)


def test_after_a_restart_a_listing_continues(sign_in: SignIn) -> None:
    """With the same secrets and the same changes, customers and tokens are as before."""
    credentials = Credentials()
    path = "/v1/customers?size=2&seekOperation=Next"
    token: dict[str, str] = {}
    ids, pages = [], []
    for _ in range(2):
        with Emulator(SMALL, credentials=credentials) as emulator:
            emulator.create_customer("Late Ltd.", domain="late.example")
            client = sign_in(emulator)
            token = token or _token(client.get("/v1/customers?size=2").json())
            pages.append(client.get(path, headers=token).json()["items"])
            ids.append([customer["id"] for customer in emulator.customers()])
    assert ids[0] == ids[1]
    assert pages[0] == pages[1]
    assert [customer["id"] for customer in pages[0]] == ids[0][2:4]


def test_a_continuation_may_expire(sign_in: SignIn) -> None:
    """After its lifetime a token is bad input."""
    now = [1_800_000_000.0]
    options = Options(customers=5, continuation_lifetime=60)
    with Emulator(options, clock=lambda: now[0]) as emulator:
        client = sign_in(emulator)
        token = _token(client.get("/v1/customers?size=2").json())
        path = "/v1/customers?size=2&seekOperation=Next"
        now[0] += 60
        assert client.get(path, headers=token).status_code == 200
        now[0] += 1
        assert _refusal(client.get(path, headers=token)) == (400, 2000)


def test_changes_during_a_listing_affect_no_other_customer(sign_in: SignIn, follow: Follow) -> None:
    """Removing a customer of a page already read loses no customer of the next page."""
    with Emulator(Options(customers=6)) as emulator:
        client, path = sign_in(emulator), "/v1/customers?size=3"
        ids = [customer["id"] for customer in emulator.customers()]
        page = client.get(path).json()
        emulator.remove_customer(ids[0])
        new = emulator.create_customer("Nytt Bolag AB")["id"]
        response = follow(client, page, path)
        assert response is not None
        assert _ids([response.json()]) == ids[3:]
        assert _ids([client.get("/v1/customers").json()]) == [*ids[1:], new]


@pytest.mark.parametrize("field", ["CompanyName", "companyname", "Domain"])
def test_names_and_domains_are_filtered_by_prefix(field: str, sign_in: SignIn) -> None:
    """The prefix matches in any case; app-only is enough."""
    with Emulator(Options(customers=50)) as emulator:
        profile = next(emulator.customers())["companyProfile"]
        member = "domain" if field == "Domain" else "companyName"
        value = profile[member][:4].upper()
        client = sign_in(emulator, app_only=True)
        items = client.get(f"/v1/customers?{_filter(value, field)}").json()["items"]
        expected = [
            customer["companyProfile"][member]
            for customer in emulator.customers()
            if customer["companyProfile"][member].casefold().startswith(value.casefold())
        ]
        assert [item["companyProfile"][member] for item in items] == expected != []


def test_filter_keys_ignore_case_and_spaces_may_be_encoded_either_way(sign_in: SignIn) -> None:
    """Lower-case keys, `+` for a blank and `%20` are all accepted."""
    with Emulator(SMALL) as emulator:
        client, reseller = sign_in(emulator), next(emulator.resellers())["id"]
        lower = {"field": "IndirectReseller", "value": reseller, "operator": "starts_with"}
        documents = {
            client.get(f"/v1/customers?filter={encode(json.dumps(lower))}").text
            for encode in (quote, quote_plus)
        }
        assert documents == {client.get(f"/v1/customers?{_filter(reseller)}").text}


@pytest.mark.parametrize(
    "query",
    [
        "filter=nonsense",
        "filter=%5B%5D",
        "filter=%7B%7D",
        _filter("x", "DisplayName"),
        _filter("x", Operator="substring"),
        _filter("x", Extra="y"),
        'filter={"Field":"Domain","Value":1,"Operator":"starts_with"}',
    ],
)
def test_an_unsupported_filter_is_refused(query: str, sign_in: SignIn) -> None:
    """Other fields, operators and shapes are bad input."""
    with Emulator(SMALL) as emulator:
        assert _refusal(sign_in(emulator).get(f"/v1/customers?{query}")) == (400, 2000)


def test_an_unknown_reseller_has_no_customers(sign_in: SignIn) -> None:
    """The list is empty and has no further page."""
    with Emulator(SMALL) as emulator:
        unknown = "00000000-0000-4000-8000-000000000000"
        page = sign_in(emulator).get(f"/v1/customers?{_filter(unknown)}").json()
        assert (page["items"], page["totalCount"], set(page["links"])) == ([], 0, {"self"})


def test_a_prefix_of_an_id_matches_several_resellers(sign_in: SignIn) -> None:
    """An empty or shortened id returns several resellers' customers, each once."""
    with Emulator(Options(customers=200, resellers=3)) as emulator:
        client = sign_in(emulator)
        served = {pair["customer_id"] for pair in emulator.memberships()}
        found = _ids([client.get(f"/v1/customers?{_filter('')}").json()])
        assert len(found) == len(served)
        assert set(found) == served


def test_partitions_need_a_user(sign_in: SignIn) -> None:
    """An app-only token is refused with code 900329."""
    with Emulator(SMALL) as emulator:
        client = sign_in(emulator, app_only=True)
        reseller = next(emulator.resellers())["id"]
        assert _refusal(client.get(f"/v1/customers?{_filter(reseller)}")) == (403, 900329)
        assert client.get("/v1/customers").status_code == 200
