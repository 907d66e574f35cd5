"""Walks through the console by its links, and looks at each page as a browser would take it."""

import re
from collections import Counter
from collections.abc import Mapping
from html.parser import HTMLParser
from urllib.parse import urlsplit

from support.console import Browser

# Attributes by which a page leads on or loads something.
_ADDRESSES = ("href", "src", "action", "hx-get", "hx-post", "formaction")
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]")
_EMPTY = {"input", "br", "meta", "link", "img", "hr"}


class Page(HTMLParser):
    """What a browser makes of a page; `faults` is what a strict one would not take, and what no page of ours has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str]] = []
        self.elements: list[str] = []
        self.values: list[str] = []
        self.faults: list[str] = []
        self.open: list[str] = []
        if found := _INVISIBLE.search(text):
            self.faults.append(f"holds the invisible character {found[0]!r}")
        self.feed(text)
        self.close()
        if self.open:
            self.faults.append(f"leaves {self.open} open")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append(tag)
        if tag not in _EMPTY:
            self.open.append(tag)
        if tag == "style" or (tag == "script" and "src" not in given):
            self.faults.append(f"an inline {tag}")
        for name, value in given.items():
            if name == "style" or name.startswith(("on", "hx-on")):
                self.faults.append(f"the attribute {name} on {tag}")
            if name in _ADDRESSES:
                self.addresses.append((tag, value))
                if not re.match(r"(/(?!/)|\?|#|$)", value) and not value.startswith("https://ops.test/"):
                    self.faults.append(f"{tag} leads to {value!r}")
        if tag == "input" and given.get("type") == "password" and given.get("value"):
            self.faults.append("a password field with a value")
        if tag in ("input", "option") and given.get("value"):
            self.values.append(given["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                self.faults.append(f"{tag} closes over others")
        elif tag not in _EMPTY:
            self.faults.append(f"{tag} was not open")


async def walk(browser: Browser, *starts: str, most: int = 150, siblings: int = 12) -> Mapping[str, str]:
    """Returns the pages that links lead to, by address, beginning with `starts`.

    One page of each path, with the query that its first link has, and besides its downloads; of pages that differ in
    their last segment, such as those of records, so many `siblings`.
    """
    waiting, seen, paths, families = list(starts), dict[str, str](), set[str](), Counter[str]()
    while waiting and len(seen) < most:
        address = waiting.pop(0)
        path, _, query = address.partition("?")
        family = path.rpartition("/")[0]
        if (known := address if "as=" in query else path) in paths or families[family] >= siblings * (1 + bool(query)):
            continue
        paths.add(known)
        families[family] += 1
        answer = await browser.http.get(browser.outer + address)
        # The broker may refuse what a page leads to, as things are now; then the page that says so is looked at.
        assert answer.status_code < 500, f"{address}: {answer.status_code}\n{answer.text}"
        seen[address] = answer.text
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        for tag, found in Page(answer.text).addresses:
            parts = urlsplit(found)
            if tag == "a" and "/static/" not in parts.path and (parts.path.startswith("/") or "as=" in found):
                waiting.append((parts.path or path) + (f"?{parts.query}" if parts.query else ""))
    return seen
