"""Puts together what takes access back."""

from collections.abc import Mapping
from dataclasses import dataclass

from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.issuing.signing_keys import SigningKeys
from valetkey_broker.model import CloudProfile
from valetkey_broker.ports import AuthMethod, Clock, Ledger
from valetkey_broker.revoking.impact import Impact
from valetkey_broker.revoking.key_revocations import KeyRevocations
from valetkey_broker.revoking.lease_states import LeaseStates
from valetkey_broker.revoking.revoker import Revoker
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


@dataclass(frozen=True, slots=True)
class Revoking:
    """`revoker` has the use cases, `keys` works in the background, `leases` says of tokens whether they can be used."""

    revoker: Revoker
    keys: KeyRevocations
    leases: LeaseStates


def build_revoking(
    repository: StateRepository,
    memory: Memory,
    ledger: Ledger,
    questions: CloudClient,
    keys: SigningKeys,
    *,
    auth_methods: Mapping[str, AuthMethod],
    profiles: Mapping[str, CloudProfile],
    clock: Clock,
) -> Revoking:
    """Returns the parts; nothing runs yet."""
    impact = Impact(ledger, memory, auth_methods, profiles, clock)
    return Revoking(
        revoker=Revoker(repository, memory, ledger, impact, clock),
        keys=KeyRevocations(
            repository=repository,
            memory=memory,
            questions=questions,
            keys=keys,
            impact=impact,
            ledger=ledger,
            profiles=profiles,
            clock=clock,
        ),
        leases=LeaseStates(memory, auth_methods, clock),
    )
