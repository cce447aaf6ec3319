"""The documentation agrees with the code."""

from __future__ import annotations

import ast
import fnmatch
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tap_partnercenter import streams
from tap_partnercenter.settings import CONFIG_JSONSCHEMA
from tests.command_line import run_tap
from tools import pages

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# The SDK declares `name` for instances only.
STREAMS: list[Any] = [*streams.STREAMS]


def test_what_is_generated_is_up_to_date() -> None:
    """No page was changed without its source, nor the source without the page."""
    for path, text in pages.rendered().items():
        shown = (ROOT / path).read_text(encoding="utf-8")
        assert shown == text, f"{path} is stale: run `python -m tools.pages`"


@pytest.mark.parametrize(
    "page",
    [
        f"<!-- unknown: {pages.BY} -->\n<!-- end of unknown -->\n",
        f"<!-- settings: {pages.BY} -->\n\nno end\n",
    ],
)
def test_an_unfilled_marker_is_an_error(page: str) -> None:
    """The text inside it would silently stay as it is."""
    with pytest.raises(ValueError, match="without a part or without their end"):
        pages.filled(page, {"settings": ""})


def test_a_part_is_replaced_between_its_marks() -> None:
    begin, end = f"<!-- settings: {pages.BY} -->\n", "<!-- end of settings -->\n"
    page = pages.filled(f"before\n{begin}old\n{end}after\n", {"settings": "new"})
    assert page == f"before\n{begin}\nnew\n\n{end}after\n"


def test_the_hub_definition_matches_the_tap() -> None:
    """Settings with their kinds, secrets and capabilities, as Meltano uses them."""
    hub = yaml.safe_load((ROOT / "docs/hub/tap-partnercenter.yml").read_text(encoding="utf-8"))
    about = json.loads(run_tap("--about", "--format=json").stdout)
    properties = about["settings"]["properties"]
    assert [setting["name"] for setting in hub["settings"]] == list(properties)
    sensitive = {setting["name"] for setting in hub["settings"] if setting.get("sensitive")}
    assert sensitive == {name for name, one in properties.items() if one.get("secret")}
    assert sorted(hub["capabilities"]) == sorted(about["capabilities"])
    assert hub["name"] == hub["executable"] == about["name"]
    assert hub["supported_python_versions"] == about["supported_python_versions"]
    logo = Path(hub["logo_url"]).name
    assert (ROOT / "docs" / "hub" / logo).read_text(encoding="utf-8").startswith("<svg ")


CREDENTIALS = ROOT / "docs" / "credentials.md"


@pytest.mark.parametrize("stream", STREAMS)
def test_the_page_about_credentials_lists_every_stream(stream: Any) -> None:
    """It says of each stream whether it needs a user."""
    page = CREDENTIALS.read_text(encoding="utf-8")
    row = re.search(rf"^\|[^|]*`{stream.name}`[^|]*\| ([^|]+) \|", page, re.MULTILINE)
    assert row is not None
    if not stream.name.endswith("_refreshes"):
        assert row[1] == ("App+User" if stream.needs_user else "either")


@pytest.mark.parametrize("stream", STREAMS)
def test_the_streams_table_names_the_keys(stream: Any) -> None:
    """A row for each stream, with its key."""
    key = ", ".join(f"`{name}`" for name in stream.primary_keys)
    page = (ROOT / "docs" / "streams.md").read_text(encoding="utf-8")
    assert f"\n| `{stream.name}` | {key} |\n" in page


def test_the_examples_of_selections_add_no_stream() -> None:
    """With `*.*`, Meltano selects all of them: a night would have many times the requests."""
    default = {one.name for one in STREAMS if one.selected_by_default}
    operating, warehouse = (
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("operating.md", "warehouse.md")
    )
    (night,) = re.findall(r"TAP_PARTNERCENTER__SELECT='(.+)'", operating)
    (listed,) = re.findall(r"^select:\n(?:- .+\n)+", warehouse, re.MULTILINE)
    for rules, expected in (
        (json.loads(night), default - {"customer_relationships"}),
        (yaml.safe_load(listed)["select"], default),
    ):
        patterns = [rule.partition(".")[0] for rule in rules if not rule.startswith("!")]
        names = [one.name for one in STREAMS]
        assert {name for rule in patterns for name in fnmatch.filter(names, rule)} == expected


@pytest.mark.parametrize("stream", STREAMS)
def test_each_stream_documents_its_cost(stream: Any) -> None:
    """In `--about`, and in the README in each stream's own words."""
    cost = stream.cost()
    about = json.loads(run_tap("--about", "--format=json").stdout)["description"]
    assert f"{stream.name} ({cost})" in about
    row = re.search(
        rf"^\| `{stream.name}` \|.*\| ([^|]+) \|$", README.read_text("utf-8"), re.MULTILINE
    )
    assert row is not None
    numbers = re.findall(r"\d+|each \w+", cost)
    assert re.findall(r"\d+|each \w+", row[1]) == numbers


@pytest.mark.parametrize("stream", STREAMS)
def test_schemas_are_documented(stream: Any) -> None:
    """Fields have descriptions; only keys are never null; nothing is closed, nothing secret."""
    schema = json.loads((ROOT / "schemas" / f"{stream.name}.json").read_text(encoding="utf-8"))

    def check(fields: dict[str, Any]) -> None:
        for name, field in fields.items():
            assert field["description"].endswith("."), name
            assert "enum" not in field, name
            assert name.lower() not in {"usercredentials", "links"}, name
            check(field.get("properties", {}))

    check(schema["properties"])
    solid = [name for name, field in schema["properties"].items() if "null" not in field["type"]]
    assert set(stream.primary_keys) <= set(solid) <= {*stream.primary_keys, "relationshipType"}


def test_there_is_a_schema_for_each_stream_and_no_other() -> None:
    """The folder is the contract."""
    assert {path.stem for path in (ROOT / "schemas").iterdir()} == {s.name for s in STREAMS}


def test_a_resellers_customer_is_a_customer() -> None:
    """The two streams of customers differ only in the reseller's id."""
    customers, reseller_customers = (
        json.loads((ROOT / "schemas" / f"{name}.json").read_text(encoding="utf-8"))["properties"]
        for name in ("customers", "reseller_customers")
    )
    reseller_customers.pop("reseller_id")
    assert customers == reseller_customers


def test_settings_have_titles_and_descriptions() -> None:
    """Meltano shows both."""
    for name, setting in CONFIG_JSONSCHEMA["properties"].items():
        assert setting["title"], name
        assert setting["description"].endswith("."), name


def test_ci_runs_the_commands_of_the_readme() -> None:
    """uv is installed as for the demo's command, and the tests run as in the README."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    demo, tests, *_ = re.findall(
        r"```sh\n(.*?)\n```", README.read_text(encoding="utf-8"), re.DOTALL
    )
    installation, _, demonstration = demo.partition(" && ")
    assert installation in [line.replace(" --quiet", "") for line in script]
    assert demonstration == ".uv/bin/uv run demo"
    assert script[-1] == tests == ".uv/bin/uv run nox"


PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "*/README.md")
    for path in sorted(ROOT.glob(pattern))
    if not path.parent.name.startswith(".")
]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as generated by GitHub."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_are_not_broken(page: Path) -> None:
    """To a file in the repository, and to a heading in it."""
    for address in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", address):
            continue
        name, _, anchor = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), address
        assert not anchor or anchor in anchors(target), address


def test_the_operators_page_quotes_what_the_tap_says() -> None:
    """The fixed part of each message in its tables is in the code."""
    code = [
        node.value
        for path in (ROOT / "tap_partnercenter").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    tables = [
        page.split(start, 1)[1].split("\n\n", 1)[0]
        for start in ("| WARNING | meaning |", "| the line begins with |")
    ]
    quoted = [
        fixed.removeprefix("STREAM: ").strip()
        for table in tables
        for row in table.splitlines()[2:]
        for message in re.findall(r"`([^`]+)`", row.split(" | ", 1)[0])
        for fixed in message.split("…")
    ]
    sentences = [fixed for fixed in quoted if fixed.count(" ") > 2]
    assert len(sentences) >= 10
    for sentence in sentences:
        assert any(sentence in said for said in code), sentence


def test_the_map_lists_every_module_and_imports_point_down() -> None:
    """docs/architecture.md has a row for each, below the rows of modules that import it."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [
        re.findall(r"`(\w+)\.py`", row) for row in re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    ]
    place = {name: number for number, row in enumerate(rows) for name in row}
    modules = {path.stem: path for path in (ROOT / "tap_partnercenter").glob("*.py")}
    assert sorted(itertools.chain(*rows)) == sorted(modules)
    for name, path in modules.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(
                "tap_partnercenter."
            ):
                imported = str(node.module).removeprefix("tap_partnercenter.")
                assert name == "__main__" or place[name] <= place[imported], (name, imported)
