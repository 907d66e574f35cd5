"""Puts together what rotates credentials."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from valetkey_broker.connectors.account_key_source import ACCOUNT_KEY, AccountKeySource
from valetkey_broker.connectors.client_secret_source import GRAPH, ApplicationSecretSource
from valetkey_broker.connectors.connector_admin import ConnectorAdmin
from valetkey_broker.connectors.credential_holders import CredentialHolders
from valetkey_broker.connectors.grant_redirection_check import RolesNow
from valetkey_broker.connectors.made_credential_rotations import MadeCredentialRotations
from valetkey_broker.connectors.named_secret_admin import NamedSecretAdmin
from valetkey_broker.connectors.rotation_admin import GIVEN, ROLLBACK, Rotations
from valetkey_broker.connectors.rotation_run import CredentialSource, GivenSource, Recorded
from valetkey_broker.connectors.rotation_runner import RotationRunner
from valetkey_broker.connectors.rotation_schedule import RotationSchedules
from valetkey_broker.connectors.rotation_steps import Machine
from valetkey_broker.connectors.rotation_targets import ConnectorTarget, Rotated, SecretTarget
from valetkey_broker.ports import AuthMethod, Clock, Cloud, Ledger
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


@dataclass(frozen=True, slots=True)
class Rotating:
    """The use cases, what works on what they begin, and the named secrets, which are rotated too."""

    rotations: Rotations
    automatic: MadeCredentialRotations
    schedules: RotationSchedules
    runner: RotationRunner
    secrets: NamedSecretAdmin
    objects: CredentialHolders

    async def run(self) -> None:
        """Works on rotations, and begins those that are due, until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self.runner.run(), name="rotation-runner")
            both.create_task(self.schedules.run(), name="rotation-schedules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What rotating stands on."""

    repository: StateRepository
    memory: Memory
    connector_admin: ConnectorAdmin
    cloud: Cloud
    ledger: Ledger
    clock: Clock


def build_rotating(
    parts: Parts,
    auth_methods: Mapping[str, AuthMethod],
    recorded: Recorded,
    roles_now: RolesNow,
    *,
    grace_seconds: float = 15.0,
    settle_seconds: float = 20.0,
    poll_seconds: float = 2.0,
    beat_seconds: float = 2.0,
    abandoned_seconds: float = 8.0,
    between_seconds: float = 1.0,
    first_pause_seconds: float = 1.0,
) -> Rotating:
    """Of a credential that the cloud makes, the old one stays good for `grace_seconds`, and what was made may be
    listed `settle_seconds` late. `between_seconds` lie between two log-ins of a proof, `first_pause_seconds` between
    the first two tries; those after that lie further apart.
    """
    maker = parts.cloud.maker
    repository, memory, clock = parts.repository, parts.memory, parts.clock
    secrets = NamedSecretAdmin(repository, memory, parts.connector_admin, auth_methods, clock)
    shared = Rotated(
        repository=repository,
        memory=memory,
        connector_admin=parts.connector_admin,
        auth_methods=auth_methods,
        clock=clock,
        recorded=recorded,
        roles_now=roles_now,
        between_seconds=between_seconds,
    )
    connectors, named = ConnectorTarget(shared), SecretTarget(shared, secrets)
    given, objects = GivenSource(), CredentialHolders(repository, memory, auth_methods)
    made: Mapping[str, CredentialSource] = {
        GRAPH: ApplicationSecretSource(maker, parts.cloud, objects, grace_seconds, settle_seconds),
        ACCOUNT_KEY: AccountKeySource(maker, parts.cloud, parts.ledger, objects, grace_seconds),
    }
    machine = Machine(
        refresh=repository.refresh,
        store=repository.rotations,
        sources={GIVEN: given, ROLLBACK: given, **made},
        targets={"connectors": connectors, "secrets": named},
        auth_methods=auth_methods,
        recorded=recorded,
        first_pause_seconds=first_pause_seconds,
    )
    runner = RotationRunner(
        machine,
        memory,
        parts.ledger,
        clock,
        poll_seconds=poll_seconds,
        beat_seconds=beat_seconds,
        abandoned_seconds=abandoned_seconds,
    )
    rotations = Rotations(
        repository=repository,
        memory=memory,
        runner=runner,
        connectors=connectors,
        secrets=named,
        auth_methods=auth_methods,
        clock=clock,
    )
    automatic = MadeCredentialRotations(rotations, objects, maker, clock)
    schedules = RotationSchedules(repository, memory, rotations, automatic, clock, recorded)
    return Rotating(rotations, automatic, schedules, runner, secrets, objects)
