"""The artifact-store flavor `valetkey`, which ZenML is told once:

    zenml artifact-store flavor register valetkey.zenml.flavor.ValetKeyArtifactStoreFlavor

ZenML copies what it says of connectors into its database then, and loads it in every process that touches a stack: the
store itself, which brings adlfs along, is loaded when it is used.
"""

from typing import ClassVar

from pydantic import ConfigDict, Field, field_validator
from zenml.artifact_stores import BaseArtifactStore, BaseArtifactStoreConfig, BaseArtifactStoreFlavor
from zenml.models import ServiceConnectorRequirements

from valetkey.errors import ValetKeyError
from valetkey.zenml.connector import BLOB_CONTAINER, CONNECTOR_TYPE
from valetkey.zenml.store_path import SCHEMES, StorePath

_BY_A_CONNECTOR = (
    "the store keeps no secret, nor the name of one; connect it instead: zenml service-connector register NAME --type "
    "valetkey --auth-method identity --endpoint=HOST:PORT --resource-type blob-container, then zenml artifact-store "
    "connect STORE --connector NAME"
)


class ValetKeyArtifactStoreConfig(BaseArtifactStoreConfig):  # type: ignore[misc] # ZenML is not there when types are checked
    """What ZenML's database keeps of a store: no secret. A connector says the same; what is given here goes first."""

    # A refusal must not repeat what was typed: somebody will try an account's key.
    model_config = ConfigDict(hide_input_in_errors=True)

    SUPPORTED_SCHEMES: ClassVar[set[str]] = set(SCHEMES)

    endpoint: str | None = Field(
        default=None, description="Broker as HOST:PORT; left out, the connector or VALETKEY_ENDPOINT says."
    )
    ca_file: str | None = Field(
        default=None,
        description="File with the broker's CA where the steps run; left out, the connector or VALETKEY_CA_FILE says.",
    )
    token_file: str | None = Field(
        default=None,
        description="File with the token by which a step proves who it is, such as a pod's projected service-account "
        "token; left out, the environment (VALETKEY_TOKEN_FILE and the like) or the connector says.",
    )
    broker_connector: str | None = Field(
        default=None, description="The broker's own connector, where several of them serve the container."
    )
    patience_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long a step waits for its first token while the broker cannot be reached, as it is updated.",
    )
    storage_ca_file: str | None = Field(
        default=None, description="File with the CA to trust storage by, for emulators and private clouds."
    )

    authentication_secret: str | None = Field(
        default=None, description="Not taken: a store of this flavor keeps no secret. People come from other flavors."
    )

    @field_validator("authentication_secret")
    @classmethod
    def _no_secret(cls, value: str | None) -> None:
        if value:
            raise ValueError(_BY_A_CONNECTOR)

    @field_validator("path")
    @classmethod
    def _path(cls, value: str) -> str:
        try:
            return StorePath.parse(value).root
        except ValetKeyError as error:
            raise ValueError(error.message) from None


class ValetKeyArtifactStoreFlavor(BaseArtifactStoreFlavor):  # type: ignore[misc]
    """An artifact store in a blob container, reached with tokens of a Valet Key broker."""

    @property
    def name(self) -> str:
        """What `-f` names."""
        return "valetkey"

    @property
    def display_name(self) -> str:
        """What people read."""
        return "Valet Key"

    @property
    def service_connector_requirements(self) -> ServiceConnectorRequirements:
        """Which connectors fit: our own alone; the container is taken from the store's path."""
        return ServiceConnectorRequirements(
            connector_type=CONNECTOR_TYPE, resource_type=BLOB_CONTAINER, resource_id_attr="path"
        )

    @property
    def config_class(self) -> type[ValetKeyArtifactStoreConfig]:
        """What can be said of a store."""
        return ValetKeyArtifactStoreConfig

    @property
    def implementation_class(self) -> type[BaseArtifactStore]:
        """The store."""
        from valetkey.zenml.artifact_store import ValetKeyArtifactStore  # noqa: PLC0415 (see above)

        return ValetKeyArtifactStore
