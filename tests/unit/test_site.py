"""docs/ as a site: every page can be reached, and no link is dead, read as a site or as files of the repository.

`make docs` itself fails at links to pages and headings that are not there. It does not look at other files, at pages
that the navigation leaves out, or at what a heading is called where the sources are read.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
PAGES = sorted(DOCS.rglob("*.md"))
_FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    """Returns a page without what stands in code, which has no links and no headings."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def navigation(entry: Any) -> Iterator[str]:
    """Yields the pages of a part of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for part in entry.values() if isinstance(entry, dict) else entry:
            yield from navigation(part)


def anchors(page: Path) -> set[str]:
    """Returns what the headings of a page are called in links to it, as code hosts call them."""
    found = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in found}


def dead_links(page: Path) -> Iterator[str]:
    """Yields the links of a page that lead nowhere, or, of a page of the site, out of it."""
    for link in _LINK.findall(re.sub(r"`[^`\n]*`", "", text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(DOCS) or not page.is_relative_to(DOCS)
        if not (inside and target.exists()) or (anchor and anchor not in anchors(target)):
            yield link


def test_every_page_is_in_the_navigation() -> None:
    """Each page once, and none that is not there: what the navigation leaves out, nobody finds."""
    assert sorted(navigation(SETTINGS["nav"])) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_no_link_is_dead() -> None:
    """A reader who follows a link gets to a page, a picture or a heading that is there."""
    dead = {page.name: found for page in (ROOT / "README.md", *PAGES) if (found := list(dead_links(page)))}
    assert dead == {}


@pytest.mark.parametrize("link", ["nowhere.md", "grants.md#nowhere", "#nowhere", "../README.md", "images/none.svg"])
def test_dead_links_are_found(link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    monkeypatch.setattr(f"{__name__}.DOCS", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").touch()
    (tmp_path / "docs/grants.md").write_text("# Grants\n\n## More, and [more](#more-and-more)\n")
    page = tmp_path / "docs/page.md"
    page.write_text(f"# Page\n\n[good](grants.md) `[code](nowhere.md)` [bad]({link})\n")
    assert list(dead_links(page)) == [link]


def test_readme_leads_to_every_page() -> None:
    """Who has only the sources reads the pages there."""
    linked = set(_LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    missing = [
        page.name for page in DOCS.glob("*.md") if not any(each.startswith(f"docs/{page.name}") for each in linked)
    ]
    assert missing == []


def test_plain_markdown() -> None:
    """Nothing that another builder would not know, and nothing from the web: no plugins, no fonts."""
    assert "plugins" not in SETTINGS
    assert SETTINGS["theme"] == {"name": "material", "font": False}
    assert SETTINGS["strict"] is True


def fused_lists(page: Path) -> Iterator[str]:
    """Yields the first lines of lists that follow a line of text directly."""
    before, in_list = "", False
    for line in text_of(page).splitlines():
        if re.match(r"[-*] |1\. ", line) and before.strip() and not in_list:
            yield line
        if not before.strip() or not line.strip() or re.match(r"[-*] |1\. ", line):
            in_list = bool(re.match(r"[-*] |\d+\. |    ", line)) or (in_list and not line.strip())
        before = line


def test_lists_and_tables_are_such_for_the_builder_too() -> None:
    """The builder takes lines for a list or a table only after an empty one; code hosts do anyway."""
    assert [line for page in PAGES for line in fused_lists(page)] == []
    tables = r"(?<=\n)(?!\||\n).+\n(\|.*\|)\n\|[ |-]+\|$|```\n(\|.*\|)$"
    assert [
        found for page in PAGES for found in re.findall(tables, page.read_text(encoding="utf-8"), re.MULTILINE)
    ] == []


def test_the_page_of_commands_is_current() -> None:
    """Whoever looks an option up finds what --help says; `make commands` makes the page."""
    command = [sys.executable, ROOT / "clients" / "commands_page.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
