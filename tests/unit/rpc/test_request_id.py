"""Request ids: the caller's own, where it is harmless."""

import pytest

from valetkey_broker.rpc.current_call import request_id_of


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "run-7.step_2", "x" * 64])
def test_a_harmless_id_is_kept(given: str) -> None:
    """Who traces a call across services finds it under its own id."""
    assert request_id_of([("authorization", "Bearer x"), ("x-request-id", given)]) == given


@pytest.mark.parametrize(
    "given",
    [
        "vk_" + "K" * 43,
        "a.vk_" + "K" * 43,
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "hvs." + "C" * 24,
        "",
        "x" * 65,
        "two words",
        "a\nb",
        b"bytes",
    ],
)
def test_what_is_no_harmless_word_is_replaced(given: str | bytes) -> None:
    """A secret pasted as an id reaches neither log nor ledger; nor does what could forge a line."""
    made = request_id_of([("x-request-id", given)])
    assert made != given
    assert str(given) not in made or not given
    assert len(made) == 20
    assert made != request_id_of([("x-request-id", given)])
