"""docs/configuration.md and the pages it leads to name every setting, with its default, and none that there is not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from valetkey_broker.settings import OidcSettings, Settings

DOCS = Path(__file__).parents[3] / "docs"
# Where a section is described, if not on the page of all settings.
PAGES = {"authn": "authentication.md", "ledger": "ledger.md"}


def sections(model: type[BaseModel] = Settings, name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Gives every section with its name, those in lists and tables too."""
    for field, info in model.model_fields.items():
        held = [info.annotation, *get_args(info.annotation)]
        for kind in held:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                path = f"{name}.{field}".strip(".")
                yield path, kind
                yield from sections(kind, path)


SECTIONS = dict(sections())


def page(section: str) -> str:
    """Returns the text in which the settings of a section are described."""
    text = (DOCS / PAGES.get(section.partition(".")[0], "configuration.md")).read_text(encoding="utf-8")
    if section in ("server", "vault", "issuing", "limits", "expiry", "metrics", "logging"):
        return text.split(f"## [{section}]\n")[1].split("\n## ")[0]
    return text.split("## Cloud profiles\n")[1] if section == "clouds" else text


def rows(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """Gives the names in the first column of each row of settings, and the defaults in the second."""
    for line in text.splitlines():
        if line.startswith("| `"):
            _, names, defaults, *_ = line.split("|")
            named = re.findall(r"`([a-z_]+)`", names)
            told = [each.strip(" `") for each in defaults.split(", ")]
            yield named, told if len(told) == len(named) else [defaults.strip(" `")] * len(named)


def written(value: Any) -> str:
    """Returns a default as the tables write it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def test_every_section_is_known_here() -> None:
    """A new section cannot slip past this file."""
    assert set(SECTIONS) == {
        *("server", "vault", "issuing", "ledger", "limits", "expiry", "metrics", "logging", "clouds"),
        *("authn", "authn.oidc", "authn.oidc.login", "authn.mtls", "authn.roles"),
    }


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_is_documented(section: str) -> None:
    """An operator finds each setting by its name on the page that describes its section."""
    text = page(section)
    names = [name for name, info in SECTIONS[section].model_fields.items() if f"{section}.{name}" not in SECTIONS]
    missing = [name for name in names if not re.search(rf"\b{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize("section", ["server", "vault", "issuing", "limits", "ledger", "authn.oidc"])
def test_defaults_are_those_of_the_broker(section: str) -> None:
    """What a table says of a setting that is not given is what happens then."""
    told = {
        name: default for names, defaults in rows(page(section)) for name, default in zip(names, defaults, strict=True)
    }
    expected = {
        name: written(info.default)
        for name, info in SECTIONS[section].model_fields.items()
        if isinstance(info.default, str | int | float) and info.default != ""
    }
    assert {name: told.get(name) for name in expected} == expected


def test_no_setting_is_documented_that_there_is_not() -> None:
    """A setting that went away goes from the tables of its section too."""
    for section in ("server", "vault", "issuing", "limits"):
        assert {name for names, _ in rows(page(section)) for name in names} == set(SECTIONS[section].model_fields)
    table = page("authn.oidc").split("## Every setting of an issuer\n")[1].split("\n## ")[0]
    assert {name for names, _ in rows(table) for name in names} == set(OidcSettings.model_fields)


def test_every_file_is_said_to_be_followed() -> None:
    """Each file that settings name is on the list of those that are read anew; the server's own pair has its row."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    lines = text.split("## Files that are rotated\n")[1].split("\n## ")[0].splitlines()
    files = {
        (section, name)
        for section, model in SECTIONS.items()
        for name in model.model_fields
        if section != "server" and (name.endswith("_file") or name == "trust_domains")
    }
    listed = {each for each in files if any(line.startswith(f"- `{each[0]}") and each[1] in line for line in lines)}
    assert listed == files
