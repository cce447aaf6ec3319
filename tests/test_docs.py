"""The documentation agrees with the code."""

from __future__ import annotations

import ast
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from tap_partnercenter import streams
from tap_partnercenter.settings import CONFIG_JSONSCHEMA
from tap_partnercenter.sign_in import REMEDIES
from tests.command_line import run_tap

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "settings.md"
# The SDK declares a name for instances alone.
STREAMS: list[Any] = [*streams.STREAMS]


def settings_table() -> str:
    """The table of settings, from what the tap says of itself, and the names of the SDK's own."""
    about = json.loads(run_tap("--about", "--format=json").stdout)["settings"]
    lines = ["| setting | kind | default | meaning |", "|---|---|---|---|"]
    for name in CONFIG_JSONSCHEMA["properties"]:
        setting = about["properties"].pop(name)
        (kind,) = (kind for kind in setting["type"] if kind != "null")
        if "enum" in setting:
            kind = " or ".join(f"`{value}`" for value in setting["enum"])
        if setting.get("secret"):
            kind += ", secret"
        if "minimum" in setting:
            least, most = setting["minimum"], setting.get("maximum")
            kind += f", {least} to {most}" if most else f", at least {least}"
        default = "**required**" if name in about["required"] else ""
        if "default" in setting:
            value = json.dumps(setting["default"]).replace(version("tap-partnercenter"), "VERSION")
            default = f"`{value}`".replace('"', "")
        meaning = setting["description"].replace("|", "\\|")
        lines.append(f"| `{name}` | {kind} | {default} | {meaning} |")
    own = ", ".join(f"`{name}`" for name in about["properties"])
    return "\n".join([*lines, "", f"The SDK adds {own} (see its documentation)."])


def test_the_settings_table_is_the_taps_own(request: pytest.FixtureRequest) -> None:
    """Name, kind, default and meaning of every setting."""
    pattern = r"(<!-- settings: .*?<!-- end of settings -->)"
    before, middle, after = re.split(pattern, SETTINGS.read_text(encoding="utf-8"), flags=re.DOTALL)
    marker = middle.splitlines()[0]
    middle = f"{marker}\n\n{settings_table()}\n\n<!-- end of settings -->"
    if request.config.getoption("--update-golden"):
        SETTINGS.write_text(before + middle + after, encoding="utf-8")
    assert SETTINGS.read_text(encoding="utf-8") == before + middle + after


def test_other_projects_get_the_plugin_of_this_one(request: pytest.FixtureRequest) -> None:
    """plugin.yml is the extractor of meltano.yml, installed from a checkout next to the project."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    (plugin,) = project["plugins"]["extractors"]
    plugin["pip_url"] = "../tap-partnercenter[login]"
    text = "# Written from meltano.yml by `pytest tests/test_docs.py --update-golden`.\n"
    text += yaml.safe_dump(plugin, sort_keys=False, width=100)
    path = ROOT / "plugin.yml"
    if request.config.getoption("--update-golden"):
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


CREDENTIALS = ROOT / "docs" / "credentials.md"


def remedies_table() -> str:
    """What the tap says at each number."""
    rows = [f"| {n} | {text} |" for n, text in REMEDIES.items() if n.isdigit()]
    return "\n".join(["| AADSTS | what to do |", "|---|---|", *sorted(rows)])


def connection_table() -> str:
    """What a healthy connection test says."""
    lines = (ROOT / "tests/golden/connection/with_a_store.txt").read_text("utf-8").splitlines()
    text = "\n".join(["```text", *lines[1:-1], "```"])
    return text.replace("DATE UTC", "2026-11-21 19:30 UTC").replace("DATE", "2027-02-19")


@pytest.mark.parametrize(
    ("name", "content"), [("test", connection_table()), ("numbers", remedies_table())]
)
def test_the_page_about_credentials_says_what_the_tap_says(
    name: str, content: str, request: pytest.FixtureRequest
) -> None:
    pattern = rf"(<!-- {name}: [^\n]*-->\n).*?(<!-- end of {name} -->)"
    page = CREDENTIALS.read_text(encoding="utf-8")
    text, count = re.subn(pattern, lambda m: f"{m[1]}\n{content}\n\n{m[2]}", page, flags=re.DOTALL)
    assert count == 1
    if request.config.getoption("--update-golden"):
        CREDENTIALS.write_text(text, encoding="utf-8")
    assert CREDENTIALS.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("stream", STREAMS)
def test_the_page_about_credentials_knows_every_stream(stream: Any) -> None:
    """And says of each whether it needs a user."""
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


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_says_what_it_costs(stream: Any) -> None:
    """In `--about`, and in the README in the words of each stream."""
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
    """Every field has a description; only keys are never null; nothing closed, nothing secret."""
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
    """The two streams of customers differ in the reseller's id alone."""
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
    """uv comes as the demo's command brings it, and the tests run as the README says."""
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
    """The names under which the headings of a page can be linked to, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading in it."""
    for address in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", address):
            continue
        name, _, anchor = address.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), address
        assert not anchor or anchor in anchors(target), address


def test_the_operators_page_quotes_what_the_tap_says() -> None:
    """Each message in its tables, as far as it is fixed, stands in the code."""
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
