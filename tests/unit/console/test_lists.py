"""What every list of the console does: search, sort, and files that do no harm."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valetkey_console.lists.columns import Cell, Column
from valetkey_console.lists.downloads import as_csv, as_json, harmless
from valetkey_console.lists.list_page import found, listing
from valetkey_console.lists.list_query import Asked

Row = tuple[str, Cell]
COLUMNS = (Column[Row]("name", "Name", lambda row: row[0]), Column[Row]("what", "What", lambda row: row[1]))


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\u3000\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff201",
        "\ufeff=1",
    ],
)
def test_no_cell_is_a_formula(text: str) -> None:
    """Spreadsheets show it, and compute nothing."""
    (_, (first, second)) = csv.reader(io.StringIO(as_csv(COLUMNS, [(text, ("=a", "b"))])))
    assert first == f"'{text}".replace("\r", "\r")
    assert second == "'=a, b"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("x;=1", "x;'=1"),
        ("x\t =1; @a", "x\t '=1; '@a"),
        ("x\n\uff1d1", "x\n'\uff1d1"),
        (";-1", ";'-1"),
        ("=1;=2", "'=1;'=2"),
        ("a=b; c-d", "a=b; c-d"),
        ("", ""),
    ],
)
def test_nor_is_what_is_taken_for_a_cell(text: str, made: str) -> None:
    """Where a spreadsheet divides at `;`, at tabs or at line ends; what begins with no such sign stays."""
    assert harmless(text) == made


@settings(max_examples=40)
@given(st.text())
def test_csv_gives_back_what_went_in(text: str) -> None:
    """But for the apostrophe: quotes, commas and line ends stay."""
    (_, (first, _)) = csv.reader(io.StringIO(as_csv(COLUMNS, [(text, None)]), newline=""))
    assert first == harmless(text)


def test_what_does_not_apply_comes_last() -> None:
    """Whichever way a column is sorted, and names are sorted as people do."""
    rows: list[Row] = [("b", None), ("C", datetime(2026, 1, 2, tzinfo=UTC)), ("a", datetime(2026, 1, 3, tzinfo=UTC))]

    def names(sort: str) -> list[str]:
        return [row[0] for row in listing(COLUMNS, rows, Asked.of({"sort": sort}, ["name", "what"])).rows]

    assert names("name") == ["a", "b", "C"]
    assert names("what") == ["C", "a", "b"]
    assert names("-what") == ["a", "C", "b"]


def test_cells_in_files() -> None:
    """Times in UTC, spans in seconds; JSON keeps kinds."""
    row = ("n", timedelta(minutes=1))
    assert as_csv(COLUMNS, [row]).splitlines()[1] == '"n","60 s"'
    assert '"what": 60.0' in as_json(COLUMNS, [row])
    assert '"what": null' in as_json(COLUMNS, [("n", None)])


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["q", "sort", "page", "size", "as", "state"]), st.text(max_size=300)))
def test_any_address_is_an_answer(query: dict[str, str]) -> None:
    """Whatever somebody types, there is a page, and what its links say means the same again."""
    asked = Asked.of(query, ["name", "what"], sort="name", filters=["state"])
    page = listing(COLUMNS, [(str(n), None) for n in range(60)], asked)
    assert 1 <= page.asked.page <= page.pages
    assert len(asked.text) <= 200


def test_a_search_reads_each_cell_once() -> None:
    """However many words it has, and however often each; a word is looked for in one cell at a time."""
    read: list[str] = []

    def told(row: Row) -> str:
        read.append(row[0])
        return row[0]

    columns = (Column[Row]("name", "Name", told), Column[Row]("what", "What", lambda row: row[1]))
    rows: list[Row] = [("Alpha one", "x"), ("alpha two", "ONE"), ("alph", "a")]
    asked = Asked(text=" ".join(["one", *["alpha"] * 50]))
    assert found(columns, rows, asked) == rows[:2]
    assert len(read) == len(rows)
    assert (
        len(found(columns, rows, Asked(text=" ".join([*"alphone", "t", "nowhere"])))) == 1
    )  # the ninth counts no more


def test_a_column_that_nobody_fills_is_not_shown() -> None:
    """Where the page has nothing for it; sorted by it, or in a file, it stays."""
    columns = (COLUMNS[0], Column[Row]("what", "What", lambda row: row[1], seldom=True))
    shown = [
        [each.key for each in listing(columns, rows, asked).columns]
        for rows, asked in (
            ([("a", ""), ("b", None)], Asked()),
            ([("a", ""), ("b", "x")], Asked()),
            ([("a", "")], Asked(sort="what")),
        )
    ]
    assert shown == [["name"], ["name", "what"], ["name", "what"]]
    assert "what" in as_csv(columns, [("a", "")])
