"""Revocations in Vault: what was written is what is read, and what would cover more than was said is not believed."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from support.core import NOW
from support.crashes import REVOCATION
from valetkey_broker.model import ResourceId
from valetkey_broker.model.revocation import KeyRevocation, RevocationTarget, SignerKind
from valetkey_broker.state.revocation_codec import decode_revocation, encode_revocation

_KEYS = KeyRevocation(
    cloud="dev",
    account="acc",
    through="a",
    probe_connector="b",
    container="demo",
    revoked_at=1,
    proved_at=2,
    covered=3,
    others=4,
    error="away",
    kind=SignerKind.ACCOUNT_KEY,
    rotates="connectors/a",
    rotates_uid="uid",
    version=5,
    rotation="rotation-1",
    at_least=True,
)


@pytest.mark.parametrize(
    "target",
    [
        RevocationTarget(principal="key:test"),
        RevocationTarget(grant="training"),
        RevocationTarget(connector="azure-blob-demo"),
        RevocationTarget(resource=ResourceId("demo")),
        RevocationTarget(resource=ResourceId("demo", "runs/7", account="acc")),
        RevocationTarget(
            lease_id="l-1",
            principal="key:test",
            grant="training",
            connector="azure-blob-demo",
            resource=ResourceId("demo", "runs", account="acc", directory=True),
        ),
    ],
)
def test_a_revocation_is_read_as_it_was_written(target: RevocationTarget) -> None:
    """A part of the target that is lost on the way would revoke more, or something else."""
    lifted = datetime.fromtimestamp(NOW + 60, UTC)
    for each in (
        replace(REVOCATION, target=target),
        replace(REVOCATION, target=target, hard=False, keys=(_KEYS, replace(_KEYS, account="other"))),
        replace(
            REVOCATION, target=target, reason="leaked", covered=7, covered_until=9, lifted_at=lifted, lifted_by="x"
        ),
    ):
        assert decode_revocation(each.name, json.loads(json.dumps(encode_revocation(each)))) == each


def test_keys_of_an_earlier_version_are_user_delegation_keys() -> None:
    """What it did not write is what it knew only one kind of."""
    document = encode_revocation(replace(REVOCATION, keys=(_KEYS,)))
    for name in ("kind", "rotates", "rotates_uid", "version", "rotation", "at_least"):
        del document["keys"][0][name]
    (keys,) = decode_revocation("r-1", document).keys
    assert (keys.kind, keys.rotates, keys.version, keys.at_least) == (SignerKind.USER_DELEGATION_KEY, "", 0, False)


@pytest.mark.parametrize(
    "change",
    [
        {"target": {"lease_id": "", "principal": "", "grant": "", "connector": "", "resource": None}},
        {"target": {"lease_id": "l-1", "principal": "", "grant": "", "connector": "", "resource": None}},
        {"target": {"principal": "key:test"}},
        {
            "target": {
                "principal": "key:test",
                "lease_id": "",
                "grant": "",
                "connector": "",
                "resource": {"id": "az://"},
            }
        },
        {"target": None},
        {"created_at": "2027-01-15T08:00:00"},
        {"created_at": None},
        {"lifted_at": "2027-01-15T08:00:00"},
        {"lifted_at": "never"},
        {"keys": [{}]},
        {"keys": encode_revocation(replace(REVOCATION, keys=(replace(_KEYS, account="A"),)))["keys"]},
    ],
)
def test_a_malformed_document_is_no_revocation(change: dict[str, Any]) -> None:
    """Above all one whose target says nothing, or only of which lease it was taken: it would cover every token."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        decode_revocation("r-1", {**encode_revocation(REVOCATION), **change})
