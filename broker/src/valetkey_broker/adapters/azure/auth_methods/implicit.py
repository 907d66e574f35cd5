"""Auth method `implicit`: what the broker itself is in Azure, where its operator allows connectors to be that."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from azure.core.credentials_async import AsyncTokenCredential

from valetkey_broker.adapters.azure.auth_method import Access
from valetkey_broker.adapters.azure.entra import EntraAccess
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.errors import Step
from valetkey_broker.adapters.azure.implicit_credentials import (
    ImplicitSetupError,
    environment,
    managed_identity,
    workload_identity,
)
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.errors import implicit_not_allowed, implicit_not_set_up
from valetkey_broker.model import (
    AzureConfig,
    CloudProfile,
    Connector,
    Credential,
    CredentialField,
    CredentialValue,
    ImplicitSource,
    InvalidFieldError,
    Secret,
    check_uuid,
)
from valetkey_broker.model.errors import shown

_SOURCES = ", ".join(source.value for source in ImplicitSource)
# What may be said beside the source. What the environment says, it says whole.
_TAKES = {
    ImplicitSource.MANAGED_IDENTITY: ("client_id",),
    ImplicitSource.WORKLOAD_IDENTITY: ("client_id", "tenant_id"),
    ImplicitSource.ENVIRONMENT: (),
}


@dataclass(frozen=True, slots=True)
class NoSecret(CredentialValue):
    """Nothing: the broker's surroundings prove who it is."""


class Implicit:
    """See ports.AuthMethod and adapters.azure.auth_method.AzureAuthMethod.

    One named kind of credential, never a chain of them: what a connector is, it says, and does not depend on what else
    lies about. The cloud's profile says which kinds are allowed, for every operator of the broker could use them.
    """

    name = "implicit"
    title = "Implicit"
    help = (
        "The broker's own identity in Azure: a managed identity, a workload identity, or the one that its environment "
        "variables name. No secret is stored. The broker's settings say which of them connectors may use in each cloud."
    )
    fetches_keys = True
    fields: Sequence[CredentialField] = (
        CredentialField(
            "implicit_source",
            secret=False,
            required=True,
            help=f"What the broker's surroundings offer: {_SOURCES}. Its settings say which of them are allowed.",
            example=ImplicitSource.MANAGED_IDENTITY.value,
            choices=tuple(source.value for source in ImplicitSource),
        ),
        CredentialField(
            "client_id",
            secret=False,
            required=False,
            help="Client id of the user-assigned managed identity, or of the workload identity if it differs.",
            example="22222222-2222-4222-8222-222222222222",
        ),
        CredentialField(
            "tenant_id",
            secret=False,
            required=False,
            help="Entra tenant of the workload identity, a UUID, if not the environment's.",
            example="11111111-1111-4111-8111-111111111111",
        ),
    )

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave, checked; see ports.AuthMethod."""
        _ = secrets
        given = config.implicit_source
        if given not in set(ImplicitSource):
            problem = f"{shown(given)} is not a source" if given else "is not given"
            raise InvalidFieldError("implicit_source", problem, _SOURCES)
        source = ImplicitSource(given)
        if source not in profile.implicit_sources:
            allowed = ", ".join(profile.implicit_sources) or "none"
            raise InvalidFieldError(
                "implicit_source",
                f"{source} is not allowed by the broker's settings",
                f"a source that clouds.{profile.name}.implicit_sources names there; now it names {allowed}",
            )
        for name in ("tenant_id", "client_id"):
            if getattr(config, name) and name not in _TAKES[source]:
                raise InvalidFieldError(name, f"is of no use to the source {source}", "it left out")
        return replace(
            config,
            tenant_id=config.tenant_id and check_uuid("tenant_id", config.tenant_id),
            client_id=config.client_id and check_uuid("client_id", config.client_id),
        ), NoSecret()

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns an empty document: its versions count as those of a secret do."""
        _ = value
        return {}

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the value in a document of Vault's; see ports.AuthMethod."""
        _ = document
        return NoSecret()

    def identity(self, connector: Connector) -> Identity:
        """Returns who the broker is by the connector's source."""
        source, client_id = connector.azure.implicit_source, connector.azure.client_id
        if source == ImplicitSource.MANAGED_IDENTITY:
            own = "the broker's system-assigned managed identity"
            return Identity(f"user-assigned managed identity {client_id}" if client_id else own)
        client_id = client_id or os.environ.get("AZURE_CLIENT_ID", "")
        kind = "workload identity" if source == ImplicitSource.WORKLOAD_IDENTITY else "service principal"
        return Identity(f"{kind} {client_id} of the broker's environment")

    def access(self, connector: Connector, credential: Credential, profile: CloudProfile, network: Network) -> Access:
        """Returns the way into Azure; nothing is asked yet."""
        azure = connector.azure
        source = ImplicitSource(azure.implicit_source)
        if source not in profile.implicit_sources:
            raise implicit_not_allowed(connector.name, source, profile.name)
        client: AsyncTokenCredential
        try:
            match source:
                case ImplicitSource.MANAGED_IDENTITY:
                    client = managed_identity(azure.client_id, network)
                case ImplicitSource.WORKLOAD_IDENTITY:
                    client = workload_identity(azure.tenant_id, azure.client_id, profile, network)
                case ImplicitSource.ENVIRONMENT:
                    client = environment(profile, network)
        except ImplicitSetupError as error:
            raise implicit_not_set_up(connector.name, source, str(error)) from None
        step = Step.MANAGED_IDENTITY if source is ImplicitSource.MANAGED_IDENTITY else Step.LOG_IN
        return EntraAccess(connector, credential, profile, client, self.identity(connector), step)
