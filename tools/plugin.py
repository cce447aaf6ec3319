"""The tap as a plugin of Meltano, for projects next to a checkout and for Meltano Hub.

Both are the extractor of meltano.yml, which tests compare with the tap's own description.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

NAME = "tap-partnercenter"


def files(root: Path) -> dict[str, str]:
    """Return the definitions by path relative to the checkout."""
    meltano = yaml.safe_load((root / "meltano.yml").read_text(encoding="utf-8"))
    (extractor,) = meltano["plugins"]["extractors"]
    package = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {
        "plugin.yml": _text(extractor | {"pip_url": f"../{NAME}[login]"}),
        f"docs/hub/{NAME}.yml": _text(_hub(extractor, package)),
    }


def _hub(extractor: dict[str, Any], package: dict[str, Any]) -> dict[str, Any]:
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(package["classifiers"]))
    return extractor | {
        "variant": package["urls"]["Source"].split("/")[-2],
        "pip_url": f"{NAME}[login]",
        "repo": package["urls"]["Source"],
        "docs": package["urls"]["Documentation"],
        "logo_url": "/assets/logos/extractors/partnercenter.svg",
        "domain_url": "https://learn.microsoft.com/partner-center/developer/",
        "keywords": ["api", "meltano_sdk", "microsoft", "partner center", "csp"],
        "maintenance_status": "active",
        # Rated by the Hub's maintainers.
        "quality": "unknown",
        "log_parser": "singer-sdk",
        "supported_python_versions": pythons,
    }


def _text(plugin: dict[str, Any]) -> str:
    text = "# Written from meltano.yml by `python -m tools.pages`.\n"
    return text + yaml.safe_dump(plugin, sort_keys=False, width=100)
