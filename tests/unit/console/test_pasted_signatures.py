"""Addresses that a SAS URL was pasted into."""

from urllib.parse import quote

import pytest

from valetkey_console.safety.pasted_signatures import without_signatures

URL = "https://a.blob.core.windows.net/models/runs"
SIGNED = f"{URL}?sv=2026-02-06&sig=planted%2Bsignature"


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (SIGNED, URL),
        (f"{URL}?SIG=planted", URL),
        (SIGNED.replace("&", "&amp;"), URL),
        (quote(SIGNED, safe=""), quote(URL, safe="")),
        (quote(quote(SIGNED, safe=""), safe=""), quote(quote(URL, safe=""), safe="")),
        ("sv=2026-02-06&sig=planted", ""),
        ("sig=planted", ""),
        ("x&sig=planted?sig=planted", ""),
    ],
)
def test_a_signature_is_left_out(typed: str, left: str) -> None:
    """However it is written; the rest of the question stays, and what is left is found clean."""
    found, cut = without_signatures([("principal", "key:trainer"), ("resource", typed)])
    assert (found, cut) == ([("principal", "key:trainer"), ("resource", left)], ["resource"])
    assert without_signatures(found) == (found, [])


def test_a_url_as_it_is_in_an_address() -> None:
    """Its parts have become fields of their own; the broker says what is wrong with the rest."""
    found, cut = without_signatures([("resource", f"{URL}?sv=2026-02-06"), ("sig", "planted")])
    assert (found, cut) == ([("resource", f"{URL}?sv=2026-02-06")], ["sig"])


@pytest.mark.parametrize("typed", ["az://models/sig=0/1.bin", "what?", f"{URL}?versionid=1", "design=1", ""])
def test_what_has_none_stays(typed: str) -> None:
    """A folder may be called so, and the broker has a word of its own for versions."""
    assert without_signatures([("resource", typed)]) == ([("resource", typed)], [])
