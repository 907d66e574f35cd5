"""Settings of the Azure clouds, the built-in ones among them: every endpoint is the operator's."""

import re
from pathlib import Path
from typing import Any

from pydantic import field_validator

from valetkey_broker.model import ImplicitSource
from valetkey_broker.settings.section import Section, https_url, proxy_url

# By these two forms accounts are told from containers in the URLs of tokens on record, years later and by whatever
# settings there are then. In others, no token would be found by its container, nor be covered by a revocation of it.
_BY_HOST = re.compile(r"https://\{account\}\.[^/{}]+")
_OF_EMULATOR = re.compile(r"https://(?:127\.0\.0\.1|localhost|\[::1\])(?::[0-9]+)?/\{account\}")


class CloudSettings(Section):
    """A cloud profile (see docs/configuration.md)."""

    authority: str
    arm_endpoint: str = ""
    graph_endpoint: str = ""
    blob_endpoint: str
    ca_file: Path | None = None
    correlation_id: bool = True
    # Proxies of the environment are not used: what leaves, and how, is in the settings.
    proxy: str = ""
    # Where UseDevelopmentStorage=true may be registered, with its key that everybody knows: nowhere else.
    emulator: bool = False
    # What the broker itself is in this cloud, any operator may use through a connector: nothing, unless it is named.
    implicit_sources: tuple[ImplicitSource, ...] = ()

    @field_validator("authority", "blob_endpoint")
    @classmethod
    def _https(cls, value: str) -> str:
        return https_url(value)

    @field_validator("arm_endpoint", "graph_endpoint")
    @classmethod
    def _https_or_none(cls, value: str) -> str:
        return https_url(value) if value else ""

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str) -> str:
        return proxy_url(value)

    @field_validator("blob_endpoint")
    @classmethod
    def _names_account(cls, value: str) -> str:
        if _BY_HOST.fullmatch(value) is None and _OF_EMULATOR.fullmatch(value) is None:
            raise ValueError(
                "must hold {account} once, where URLs have it: https://{account}.HOST, or for an emulator on the "
                "broker's own machine https://127.0.0.1:PORT/{account}"
            )
        return value


# Source: https://learn.microsoft.com/azure/storage/common/storage-endpoints (other clouds have their own pages), and of
# Graph https://learn.microsoft.com/graph/deployments (US Government is its L4; for L5, an operator makes a profile).
BUILT_IN_CLOUDS: dict[str, dict[str, Any]] = {
    "azure-public": {
        "authority": "https://login.microsoftonline.com",
        "arm_endpoint": "https://management.azure.com",
        "graph_endpoint": "https://graph.microsoft.com",
        "blob_endpoint": "https://{account}.blob.core.windows.net",
    },
    "azure-us-government": {
        "authority": "https://login.microsoftonline.us",
        "arm_endpoint": "https://management.usgovcloudapi.net",
        "graph_endpoint": "https://graph.microsoft.us",
        "blob_endpoint": "https://{account}.blob.core.usgovcloudapi.net",
    },
    "azure-china": {
        "authority": "https://login.chinacloudapi.cn",
        "arm_endpoint": "https://management.chinacloudapi.cn",
        "graph_endpoint": "https://microsoftgraph.chinacloudapi.cn",
        "blob_endpoint": "https://{account}.blob.core.chinacloudapi.cn",
    },
}
