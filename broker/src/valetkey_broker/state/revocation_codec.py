"""Revocations as Vault keeps them, and back."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from valetkey_broker.model import ResourceId, check_account
from valetkey_broker.model.revocation import KeyRevocation, Revocation, RevocationTarget, SignerKind


def encode_revocation(revocation: Revocation) -> dict[str, Any]:
    """Returns the document of a revocation."""
    target = revocation.target
    resource = target.resource
    return {
        "target": {
            "lease_id": target.lease_id,
            "principal": target.principal,
            "grant": target.grant,
            "connector": target.connector,
            "resource": {"id": str(resource), "account": resource.account} if resource else None,
        },
        "reason": revocation.reason,
        "hard": revocation.hard,
        "created_at": revocation.created_at.isoformat(),
        "created_by": revocation.created_by,
        "covered": revocation.covered,
        "covered_until": revocation.covered_until,
        "keys": [{**asdict(keys), "kind": keys.kind.value} for keys in revocation.keys],
        "lifted_at": revocation.lifted_at.isoformat() if revocation.lifted_at else None,
        "lifted_by": revocation.lifted_by,
    }


def decode_revocation(name: str, data: Mapping[str, Any]) -> Revocation:
    """Returns the revocation in a document. Raises KeyError, TypeError or ValueError where it is malformed.

    A target without anything given is malformed: it would cover everything.
    """
    lifted_at = data["lifted_at"]
    return Revocation(
        name=name,
        target=_target(data["target"]),
        reason=str(data["reason"]),
        hard=bool(data["hard"]),
        created_at=_instant(data["created_at"]),
        created_by=str(data["created_by"]),
        covered=int(data["covered"]),
        covered_until=int(data["covered_until"]),
        keys=tuple(_keys(each) for each in data["keys"]),
        lifted_at=_instant(lifted_at) if lifted_at is not None else None,
        lifted_by=str(data["lifted_by"]),
    )


def _target(data: Mapping[str, Any]) -> RevocationTarget:
    resource = data["resource"]
    parsed = None
    if resource is not None:
        there = ResourceId.parse(str(resource["id"]))
        account = check_account("account", resource["account"]) if resource["account"] is not None else None
        parsed = ResourceId(there.container, there.prefix, account, directory=there.directory)
    names = {name: str(data[name]) for name in ("lease_id", "principal", "grant", "connector")}
    if parsed is None and not any(names[name] for name in ("principal", "grant", "connector")):
        raise ValueError("a target without anything given")
    return RevocationTarget(**names, resource=parsed)


def _keys(data: Mapping[str, Any]) -> KeyRevocation:
    return KeyRevocation(
        cloud=str(data["cloud"]),
        account=check_account("account", data["account"]),
        through=str(data["through"]),
        probe_connector=str(data["probe_connector"]),
        container=str(data["container"]),
        revoked_at=int(data["revoked_at"]),
        proved_at=int(data["proved_at"]),
        covered=int(data["covered"]),
        others=int(data["others"]),
        error=str(data["error"]),
        # In none of an earlier version.
        kind=SignerKind(data.get("kind", SignerKind.USER_DELEGATION_KEY.value)),
        rotates=str(data.get("rotates", "")),
        rotates_uid=str(data.get("rotates_uid", "")),
        version=int(data.get("version", 0)),
        rotation=str(data.get("rotation", "")),
        at_least=bool(data.get("at_least")),
    )


def _instant(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError("a time without its zone")
    return when
