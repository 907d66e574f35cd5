"""What the dev stack writes as TOML is what Python reads from it."""

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from valetkey_devstack.toml_writer import toml_document

# What TOML can say: text without lone surrogates, numbers of 64 bits.
_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_PLAIN = _TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
_TABLES = st.recursive(
    st.dictionaries(_TEXT, _PLAIN | st.lists(_PLAIN)),
    lambda inner: st.dictionaries(_TEXT, _PLAIN | inner | st.lists(inner, min_size=1)),
    max_leaves=10,
)


@given(_TABLES)
def test_what_is_written_is_what_is_read(values: dict[str, Any]) -> None:
    """Whatever keys and values somebody's settings hold, dots and quotes and line breaks, none turns into another."""
    assert tomllib.loads(toml_document(values)) == values


def test_it_is_written_for_people() -> None:
    """Tables, arrays of tables and quoted keys look as somebody would write them by hand."""
    values = {
        "default_cloud": "dev",
        "authn": {"oidc": [{"issuer": "https://a", "attributes": {"namespace": ["kubernetes.io", "namespace"]}}]},
        "mtls": {"trust_domains": {"example.org": Path("/ca.pem")}},
    }
    assert toml_document(values) == (
        'default_cloud = "dev"\n\n'
        '[[authn.oidc]]\nissuer = "https://a"\n\n'
        '[authn.oidc.attributes]\nnamespace = ["kubernetes.io", "namespace"]\n\n'
        '[mtls.trust_domains]\n"example.org" = "/ca.pem"\n'
    )
