"""How each tool is told to reach storage, directly or through the proxy: variables, or lines to paste."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from valetkey.cli.overriding_variables import WINNING

_BLOB_NAME = "PATH/OF/BLOB"
_UPLOAD = ["--upload-file FILE", "--header 'x-ms-blob-type: BlockBlob'"]


@dataclass(frozen=True, slots=True)
class ToolAccess:
    """A way to a container, a directory or a blob. `path` is what of it stands behind the container, or empty."""

    account: str
    container: str
    endpoint: str
    sas: str = field(repr=False)
    permissions: tuple[str, ...]
    path: str = ""
    through_proxy: bool = False

    @classmethod
    def of(cls, url: str, account: str, resource_id: str, sas: str, permissions: Sequence[str]) -> "ToolAccess":
        """Returns the way of a token as the broker issued it."""
        container, _, path = resource_id.removeprefix("az://").partition("/")
        endpoint = url.removesuffix(f"/{path}") if path else url
        endpoint = endpoint.removesuffix(f"/{container}")
        return cls(account, container, endpoint, sas, tuple(permissions), path)

    @property
    def container_url(self) -> str:
        """URL of the container, with the token."""
        return f"{self.endpoint}/{self.container}?{self.sas}"

    @property
    def url(self) -> str:
        """URL of what it is for, with the token."""
        return self._below(self.path)

    @property
    def connection_string(self) -> str:
        """Endpoint and token as one connection string, as Azure's SDKs take it."""
        return f"BlobEndpoint={self.endpoint};SharedAccessSignature={self.sas}"

    def as_json(self) -> dict[str, str]:
        """Returns its parts, for programs."""
        return {
            "endpoint": self.endpoint,
            "account": self.account,
            "container": self.container,
            "sas_token": self.sas,
            "container_url": self.container_url,
            "connection_string": self.connection_string,
        }

    def variables(self) -> dict[str, str]:
        """Returns variables of the environment, as each tool reads them."""
        found = {
            "AZURE_STORAGE_ACCOUNT": self.account,  # the Azure CLI
            "AZURE_STORAGE_ACCOUNT_NAME": self.account,  # adlfs, obstore, polars
            "AZURE_STORAGE_ENDPOINT": self.endpoint,  # obstore, polars, delta-rs
            "AZURE_STORAGE_SAS_TOKEN": self.sas,
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,  # the Azure CLI and adlfs know no endpoint
            "RCLONE_CONFIG_VALETKEY_TYPE": "azureblob",
            "RCLONE_CONFIG_VALETKEY_SAS_URL": self.container_url,
            "VALETKEY_STORAGE_URL": f"{self.endpoint}/{self.container}",  # for scripts
        }
        if self.through_proxy:
            found["AZURE_ALLOW_HTTP"] = "true"  # obstore, polars, delta-rs
        return found

    def unset(self) -> list[str]:
        """Returns the variables that would silently win over these in one of the tools."""
        return [name for name in WINNING if name not in self.variables()]

    def _below(self, path: str) -> str:
        return f"{self.endpoint}/{self.container}{f'/{path}' if path else ''}?{self.sas}"

    def _one_blob(self) -> bool:
        return bool(self.path) and not self.path.endswith("/")

    def _blob(self) -> str:
        return self.path if self._one_blob() else f"{self.path}{_BLOB_NAME}"

    def env(self) -> list[str]:
        """Returns lines for a shell."""
        return [
            f"unset {' '.join(self.unset())}",
            *(f"export {name}={shlex.quote(value)}" for name, value in self.variables().items()),
        ]

    def rclone(self) -> list[str]:
        """Returns lines for a shell: a remote by the name of valetkey."""
        return [
            "export RCLONE_CONFIG_VALETKEY_TYPE=azureblob",
            f"export RCLONE_CONFIG_VALETKEY_SAS_URL={shlex.quote(self.container_url)}",
            f"# then, for example: rclone lsf valetkey:{self.container}",
        ]

    def rclone_conf(self) -> list[str]:
        """Returns a configuration file of rclone's with that remote."""
        return ["[valetkey]", "type = azureblob", f"sas_url = {self.container_url}"]

    def azcopy(self) -> list[str]:
        """Returns a command line; azcopy takes a token nowhere else.

        It knows blob storage by Azure's host names alone (10.32.2): at the proxy's address it has to be told.
        """
        if not self._one_blob() and "list" in self.permissions:
            return [f"azcopy list --location Blob {shlex.quote(self.url)}"]
        url = shlex.quote(self._below(self._blob()))
        if "read" in self.permissions:
            return [f"azcopy copy --from-to BlobLocal {url} ."]
        return [f"azcopy copy --from-to LocalBlob FILE {url}"]

    def duckdb(self) -> list[str]:
        """Returns a statement for DuckDB with its extension azure."""
        text = self.connection_string.replace("'", "''")
        given = f"TYPE azure, CONNECTION_STRING '{text}', SCOPE 'az://{self.container}'"
        return [f"CREATE OR REPLACE SECRET valetkey ({given});"]

    def curl(self) -> list[str]:
        """Returns a command line that keeps the token out of the list of processes."""
        what = []
        if not self._one_blob() and "list" in self.permissions:
            url = f"{self.container_url}&restype=container&comp=list"
        else:
            url = self._below(self._blob())
            what = ["--remote-name"] if "read" in self.permissions else _UPLOAD
        return [" ".join(["curl --fail --silent --show-error", *what, "--config - <<'END'"]), f'url = "{url}"', "END"]


# By the words of `-o`.
FORMS: dict[str, Callable[[ToolAccess], list[str]]] = {
    "env": ToolAccess.env,
    "rclone": ToolAccess.rclone,
    "rclone-conf": ToolAccess.rclone_conf,
    "azcopy": ToolAccess.azcopy,
    "duckdb": ToolAccess.duckdb,
    "curl": ToolAccess.curl,
}
