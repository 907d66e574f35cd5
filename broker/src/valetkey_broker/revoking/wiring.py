"""Puts together what takes access back."""

from collections.abc import Mapping
from dataclasses import dataclass

from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.rotation_wiring import Parts, Rotating
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import CloudProfile
from valetkey_broker.ports import AuthMethod
from valetkey_broker.recording import Changes
from valetkey_broker.revoking.account_key_holders import AccountKeys
from valetkey_broker.revoking.impact import Impact
from valetkey_broker.revoking.key_revocations import KeyRevocations
from valetkey_broker.revoking.key_rotations import KeyRotations
from valetkey_broker.revoking.lease_states import LeaseStates
from valetkey_broker.revoking.revoker import Revoker


@dataclass(frozen=True, slots=True)
class Revoking:
    """`revoker` has the use cases, `keys` works in the background, `leases` says of tokens whether they can be used."""

    revoker: Revoker
    keys: KeyRevocations
    leases: LeaseStates


def build_revoking(
    parts: Parts,
    questions: CloudClient,
    keys: SigningKeys,
    rotating: Rotating,
    *,
    auth_methods: Mapping[str, AuthMethod],
    profiles: Mapping[str, CloudProfile],
    stale_seconds: float,
) -> Revoking:
    """Returns the parts; nothing runs yet. It stands on what `rotating` was built on.

    `stale_seconds` is how long a replica issues on without a word from Vault.
    """
    repository, memory, ledger, clock = parts.repository, parts.memory, parts.ledger, parts.clock
    account_keys = AccountKeys(rotating.objects, profiles)
    leases = LeaseStates(memory, auth_methods, clock)
    impact = Impact(
        ledger,
        memory,
        auth_methods,
        profiles,
        account_keys,
        leases.proved_dead,
        leases.refused,
        clock,
        stale_seconds=stale_seconds,
    )
    recorded = Changes(ledger, clock).make
    rotations = KeyRotations(rotating, rotating.objects, account_keys, impact, parts.cloud, recorded, clock)
    return Revoking(
        revoker=Revoker(repository, memory, ledger, impact, rotations, clock),
        keys=KeyRevocations(
            repository=repository,
            memory=memory,
            questions=questions,
            keys=keys,
            impact=impact,
            rotations=rotations,
            ledger=ledger,
            profiles=profiles,
            clock=clock,
        ),
        leases=leases,
    )
