"""How a broker describes what types of connectors it has, for people and forms: plain, immutable values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """One thing that is given for an auth method; `secret` says whether it is kept in Vault and never shown again.

    `choices` are the words that it can be, where it is one of a few.
    """

    name: str
    secret: bool
    required: bool
    help: str
    example: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthMethodDescription:
    """One way to log in; `fields` are in the order in which people are asked."""

    auth_method: str
    title: str
    help: str
    fields: tuple[FieldDescription, ...]


@dataclass(frozen=True, slots=True)
class ResourceTypeDescription:
    """What a connector gives access to; `id_examples` begin with the canonical form of its ids."""

    resource_type: str
    title: str
    help: str
    id_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConnectorTypeDescription:
    """One type of connectors, as this broker has it; the usual auth method is the first.

    `fields` may be given with every auth method: where to look for resources.
    """

    type: str
    title: str
    help: str
    auth_methods: tuple[AuthMethodDescription, ...]
    resource_types: tuple[ResourceTypeDescription, ...]
    fields: tuple[FieldDescription, ...] = ()
