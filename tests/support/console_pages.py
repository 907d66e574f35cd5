"""Walks through the console by its links, and looks at each page as a browser would take it."""

import re
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


async def walk(browser: Browser, *starts: str, most: int = 80) -> Mapping[str, str]:
    """Returns the pages that links lead to, by path, beginning with `starts`; ways to sort and page a list aside."""
    waiting, seen = list(starts), dict[str, str]()
    while waiting and len(seen) < most:
        path = waiting.pop(0)
        if path in seen:
            continue
        answer = await browser.http.get(browser.outer + path)
        # The fakes' cloud is none of those whose URLs the broker reads.
        expected = (200, 303, 400, 404) if "blob.invalid" in path else (200, 303, 404)
        assert answer.status_code in expected, f"{path}: {answer.status_code}\n{answer.text}"
        seen[path] = answer.text
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        for tag, address in Page(answer.text).addresses:
            parts = urlsplit(address)
            if tag == "a" and parts.path.startswith("/") and "/static/" not in parts.path:
                waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))
            elif tag == "a" and "as=" in parts.query:
                waiting.append(f"{urlsplit(path).path}?{parts.query}")
    return seen
