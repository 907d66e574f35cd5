"""Cloud profiles: every endpoint the broker talks to, defined by the operator, never by a caller."""

from dataclasses import dataclass
from enum import StrEnum

from valetkey_broker.model.secret import Secret


class ImplicitSource(StrEnum):
    """What the broker's surroundings may prove it with."""

    MANAGED_IDENTITY = "managed-identity"
    WORKLOAD_IDENTITY = "workload-identity"
    ENVIRONMENT = "environment"


# The account that an emulator has from the start, with a key that everybody knows:
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
DEVELOPMENT_ACCOUNT = "devstoreaccount1"
DEVELOPMENT_KEY = Secret("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==")


@dataclass(frozen=True, slots=True)
class CloudProfile:
    """One Azure cloud, or an emulator of it.

    `blob_endpoint` is a template with `{account}`; account names are checked before they are put in. `arm_endpoint`
    may be empty: then storage accounts cannot be discovered and every connector has to name its own; so may
    `graph_endpoint`, Microsoft Graph: then no secret of an application can be made.
    `correlation_id` says whether the storage service takes `scid` in a SAS. `proxy` is the URL of a forward proxy on
    the way there, or empty. `emulator` says that it is Azurite, which alone `UseDevelopmentStorage=true` can mean.
    `implicit_sources` are those that connectors of auth method `implicit` may name.
    """

    name: str
    authority: str
    arm_endpoint: str
    blob_endpoint: str
    ca_file: str | None = None
    correlation_id: bool = True
    proxy: str = ""
    emulator: bool = False
    implicit_sources: tuple[ImplicitSource, ...] = ()
    graph_endpoint: str = ""

    def blob_url(self, account: str) -> str:
        """Returns the blob endpoint of `account`, without a trailing slash."""
        return self.blob_endpoint.format(account=account)

    def container_url(self, account: str, container: str) -> str:
        """Returns the full URL of a container."""
        return f"{self.blob_url(account)}/{container}"
