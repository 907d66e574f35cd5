"""Grants in the console: the list as every list is, and the page of one."""

import csv
import io
import json

import pytest

from support.console import Console

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("console")]


async def test_the_list_and_one_of_it(console: Console) -> None:
    """Whoever reads grants sees them, with the same by command, and gets to each."""
    page = (await console.as_auditor.get("/grants")).text
    assert "1 to 1 of 1" in page
    assert "valetkey grant list" in page
    assert 'href="/grants/training"' in page
    one = (await console.as_auditor.get("/grants/training")).text
    for told in ("key:trainer", "azure-blob-demo", "delete", "valetkey grant describe training"):
        assert told in one


async def test_search_sort_and_pages_are_in_the_address(console: Console) -> None:
    """An address can be shared: it alone says what is shown."""
    for number in range(30):
        await console.broker.allow("key:crowd", name=f"crowd-{number:02}", containers=("models",))
    page = (await console.as_admin.get("/grants?q=crowd+models&sort=-name&size=25&page=2")).text
    assert "26 to 30 of 30 (of 31 in all)" in page
    assert [f"crowd-{number:02}" in page for number in (4, 0, 5)] == [True, True, False]
    assert page.index("crowd-04") < page.index("crowd-00")
    assert 'href="?q=crowd+models&amp;sort=-name&amp;size=25">' in page
    # In the broker's own order no more is asked for than the page needs.
    first = (await console.as_admin.get("/grants?size=25")).text
    assert "1 to 25 of 26 or more" in first
    assert "Page 1 of 2 or more" in first
    assert "26 to 31 of 31" in (await console.as_admin.get("/grants?size=25&page=2")).text
    # What nobody could mean counts as not said.
    odd = (await console.as_admin.get("/grants?q=crowd&sort=nothing&size=7&page=9999999")).text
    assert "1 to 30 of 30" in odd


async def test_downloads_hold_all_that_was_found(console: Console) -> None:
    """As CSV and as JSON, whatever page is shown."""
    answer = await console.as_admin.get("/grants?q=training&as=csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="grants.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert (row["name"], row["principals"], row["connectors"]) == ("training", "key:trainer", "azure-blob-demo")
    answer = await console.as_admin.get("/grants?q=training&as=json")
    assert answer.headers["content-type"] == "application/json"
    (found,) = json.loads(answer.text)
    assert (found["principals"], found["expires"]) == (["key:trainer"], None)


async def test_what_one_may_not_see_is_not_there(console: Console) -> None:
    """Neither in the navigation nor at its address, where the page says which role it takes."""
    assert 'href="/grants"' not in (await console.as_consumer.get("/")).text
    page = (await console.as_consumer.get("/grants", code=403)).text
    assert "It needs one of the roles admin, auditor, operator; you have none." in page


async def test_a_grant_that_is_gone(console: Console) -> None:
    """The broker's error becomes a page: what is wrong, what next, and by what it is found in the log."""
    page = (await console.as_admin.get("/grants/nowhere", code=404)).text
    for told in ("GRANT_NOT_FOUND", "Go back to the list.", "Request <span"):
        assert told in page
    # htmx gets a part of a page, and not a page in a page.
    part = (await console.as_admin.get("/grants/nowhere", code=404, hx_request="true")).text
    assert "<html" not in part
    assert "GRANT_NOT_FOUND" in part
