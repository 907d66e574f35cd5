"""Puts together what rotates credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from valetkey_broker.connectors.registry import ConnectorRegistry
from valetkey_broker.connectors.rotation_run import CredentialSource, GivenSource, Recorded
from valetkey_broker.connectors.rotation_runner import RotationRunner
from valetkey_broker.connectors.rotation_steps import Machine
from valetkey_broker.connectors.rotation_targets import ConnectorTarget, Rotated, SecretTarget
from valetkey_broker.connectors.rotations import GIVEN, ROLLBACK, Rotations
from valetkey_broker.connectors.secrets import SecretRegistry
from valetkey_broker.ports import AuthMethod, Clock, Ledger
from valetkey_broker.state.memory import Memory
from valetkey_broker.state.repository import StateRepository


@dataclass(frozen=True, slots=True)
class Rotating:
    """The use cases, what works on what they begin, and the named secrets, which are rotated too."""

    rotations: Rotations
    runner: RotationRunner
    secrets: SecretRegistry


class Parts(Protocol):
    """What rotating stands on."""

    @property
    def repository(self) -> StateRepository:
        """What is in Vault."""
        ...

    @property
    def memory(self) -> Memory:
        """The copy of it."""
        ...

    @property
    def registry(self) -> ConnectorRegistry:
        """What verifies connectors."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What steps are recorded in."""
        ...

    @property
    def clock(self) -> Clock:
        """The time."""
        ...


def build_rotating(
    parts: Parts,
    auth_methods: Mapping[str, AuthMethod],
    recorded: Recorded,
    *,
    sources: Mapping[str, CredentialSource] | None = None,
    poll_seconds: float = 2.0,
    beat_seconds: float = 2.0,
    abandoned_seconds: float = 8.0,
    between_seconds: float = 1.0,
    first_pause_seconds: float = 1.0,
) -> Rotating:
    """`sources` are those of credentials that nobody gives. `between_seconds` lie between two log-ins of a proof,
    `first_pause_seconds` between the first two tries; those after that lie further apart.
    """
    repository, memory, clock = parts.repository, parts.memory, parts.clock
    secrets = SecretRegistry(repository, memory, parts.registry, auth_methods, clock)
    shared = Rotated(
        repository=repository,
        memory=memory,
        registry=parts.registry,
        auth_methods=auth_methods,
        clock=clock,
        recorded=recorded,
        between_seconds=between_seconds,
    )
    connectors, named = ConnectorTarget(shared), SecretTarget(shared, secrets)
    given = GivenSource()
    machine = Machine(
        store=repository.rotations,
        sources={GIVEN: given, ROLLBACK: given, **(sources or {})},
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
    return Rotating(rotations, runner, secrets)
