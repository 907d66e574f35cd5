"""How a revocation is told of: what it would hit, and how far the keys are."""

from datetime import UTC, datetime

import pytest

from valetkey.cli.revocation_views import keys_words, print_preview, rotation_words
from valetkey.cli.screen import Screen
from valetkey.revocation_values import KeyRevocation, Revocation, RevocationPreview, RevocationTarget, RevokedSigner

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def _revocation(**keys: object) -> Revocation:
    there = {
        "account": "one",
        "connector": "sp",
        "state": "pending",
        "revoke_time": None,
        "proof_time": None,
        "covered": 0,
        "others": 0,
        "error": "",
        "kind": "account-key",
        "rotates": "secrets/shared",
        **keys,
    }
    return Revocation(
        name="r-1",
        target=RevocationTarget(principal="key:trainer"),
        reason="",
        hard=True,
        state="revoking",
        create_time=WHEN,
        created_by="key:ops",
        covered=1,
        covered_until=WHEN,
        keys=(KeyRevocation(**there),),  # type: ignore[arg-type]
        lift_time=None,
        lifted_by="",
    )


def test_a_rotation_is_followed_in_words() -> None:
    """From before it begins to the key that is tried."""
    assert rotation_words(_revocation()) == "rotating secret shared: not begun yet"
    assert rotation_words(_revocation(rotation_state="waiting")) == "rotating secret shared: waiting"
    assert "trying it on storage" in rotation_words(_revocation(rotation_state="done", revoke_time=WHEN))
    assert keys_words(_revocation(error="why")) == "one: pending, rotates secret shared: not begun yet (why)"
    over = _revocation(state="revoked", revoke_time=WHEN, covered=2, others=1)
    assert keys_words(over) == "one: revoked, secret shared rotated, hit 2 and 1 others on record"
    least = _revocation(state="revoked", revoke_time=WHEN, covered=2, others=1, hits_incomplete=True)
    assert keys_words(least) == "one: revoked, secret shared rotated, hit at least 2 and 1 others on record"


@pytest.mark.parametrize(
    ("kind", "rotates", "told", "beyond"),
    [
        (
            "account-key",
            ("connectors/a", "secrets/b"),
            "rotates connector a, secret b by connector sp",
            "signs in with",
        ),
        ("user-delegation-key", (), "can revoke the keys", "user delegation keys of the account"),
    ],
)
def test_what_hard_hits_is_said_beforehand(
    kind: str, rotates: tuple[str, ...], told: str, beyond: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is done to whom, and what nobody can count: by the kind of key."""
    signer = RevokedSigner(
        account="one",
        kind=kind,
        connectors=("a",),
        covered=1,
        covered_until=WHEN,
        others=0,
        other_principals=(),
        others_until=None,
        obstacle="",
        rotates=rotates,
        by="sp",
    )
    target = RevocationTarget(principal="key:trainer")
    preview = RevocationPreview(
        target=target, signers=(signer,), covered=1, covered_until=WHEN, in_force=(), incomplete=False
    )
    print_preview(Screen(as_json=False), preview, hard=True)
    said = " ".join(capsys.readouterr().err.replace("\u2503", " ").replace("\u2502", " ").split())
    for words in (*told.split(), *beyond.split()):
        assert words in said


@pytest.mark.parametrize(("others", "told"), [(3, "at least 3: key:x"), (0, "none found; not all were looked at")])
def test_a_lower_bound_is_shown_as_one(others: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """More tokens live than were looked at: nobody takes the number for all that would end."""
    signer = RevokedSigner(
        account="one",
        kind="user-delegation-key",
        connectors=("a",),
        covered=2,
        covered_until=WHEN,
        others=others,
        other_principals=("key:x",) if others else (),
        others_until=None,
        obstacle="",
        others_incomplete=True,
    )
    preview = RevocationPreview(
        target=RevocationTarget(principal="key:trainer"),
        signers=(signer,),
        covered=2,
        covered_until=WHEN,
        in_force=(),
        incomplete=True,
    )
    print_preview(Screen(as_json=False), preview, hard=True)
    said = " ".join(capsys.readouterr().err.replace("\u2503", " ").replace("\u2502", " ").split())
    assert "at least 2 tokens that are covered are out, the last of these until" in said
    for word in (*told.split(), "at least 2, until"):
        assert word in said
