"""What a reader asks of a list, as the address of the page says it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

_SIZES = (25, 50, 100, 200)
# What need not stand in an address.
_UNSAID = {"size": 50, "page": 1}
_MOST_TEXT = 200
_MOST_PAGE = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Search text, column to sort by, page and filters. What an address says wrongly counts as not said.

    `filters` are those of the page itself, by name, empty where not set. `download` is csv, json or empty.
    """

    text: str = ""
    sort: str = ""
    descending: bool = False
    page: int = 1
    size: int = 50
    filters: Mapping[str, str] = field(default_factory=dict)
    download: str = ""

    @classmethod
    def of(
        cls, query: Mapping[str, str], columns: Iterable[str], *, sort: str = "", filters: Iterable[str] = ()
    ) -> "Asked":
        """Returns what a query string asks for; `sort` is the column's key by default, `-KEY` for the other way."""
        wanted = query.get("sort", "")
        if wanted.removeprefix("-") not in columns:
            wanted = sort
        size = query.get("size", "")
        return cls(
            text=query.get("q", "").strip()[:_MOST_TEXT],
            sort=wanted.removeprefix("-"),
            descending=wanted.startswith("-"),
            page=_number(query.get("page", "")),
            size=int(size) if size in map(str, _SIZES) else 50,
            filters={name: query.get(name, "").strip()[:_MOST_TEXT] for name in filters},
            download=found if (found := query.get("as", "")) in ("csv", "json") else "",
        )

    def address(self, **changes: str | int) -> str:
        """Returns the query string of this list with changes by name, such as `page=2` or `sort="-name"`."""
        now: dict[str, str | int] = {
            "q": self.text,
            "sort": ("-" if self.descending else "") + self.sort,
            "size": self.size,
            "page": self.page,
            **self.filters,
            **changes,
        }
        said = {name: value for name, value in now.items() if value != _UNSAID.get(name, "")}
        return f"?{urlencode(said)}"

    def limit(self, by: str, *found_here: str) -> int | None:
        """Returns how many rows tell this page of a list that the broker has in the order of `by`; None for all.

        Behind a page in that order nothing needs to be known. Words, another order and the filters `found_here`, which
        the broker does not know, are for all rows.
        """
        here = self.descending or self.text or self.download or any(self.filters[name] for name in found_here)
        return None if here or self.sort != by else self.page * self.size + 1

    def sorted_by(self, key: str) -> str:
        """Returns the query string that sorts by a column; the other way round, where it does already."""
        turned = key == self.sort and not self.descending
        return self.address(sort=f"-{key}" if turned else key, page=1)


def _number(text: str) -> int:
    return min(int(text), _MOST_PAGE) if text.isascii() and text.isdecimal() and 0 < len(text) < 8 and int(text) else 1  # noqa: PLR2004
