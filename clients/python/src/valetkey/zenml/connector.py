"""The service connector type `valetkey`: ZenML's stack components find the broker by it, and prove who they are."""

from contextlib import closing
from typing import Any

from pydantic import Field, field_validator
from zenml.exceptions import AuthorizationException
from zenml.models import AuthenticationMethodModel, ResourceTypeModel, ServiceConnectorTypeModel
from zenml.service_connectors.service_connector import AuthenticationConfig, ServiceConnector

from valetkey.channel import parse_endpoint
from valetkey.errors import ValetKeyError
from valetkey.settings import load_settings
from valetkey.values import ConnectorResources
from valetkey.zenml.broker_access import BrokerAccess

CONNECTOR_TYPE = "valetkey"
BLOB_CONTAINER = "blob-container"
IDENTITY = "identity"
_SCHEMES = ("az://", "abfs://", "abfss://")
_TIMEOUT_SECONDS = 30.0


class IdentityConfig(AuthenticationConfig):  # type: ignore[misc]
    """What the connector keeps in ZenML's database: where the broker is, and where an identity lies. No secret."""

    endpoint: str = Field(title="Broker: HOST:PORT")
    ca_certificate: str | None = Field(
        default=None, title="The broker's CA in PEM form; it travels to every step (--ca_certificate=@ca.pem)"
    )
    ca_file: str | None = Field(default=None, title="File with the broker's CA, on the machines that use the connector")
    token_file: str | None = Field(
        default=None, title="File with a token that proves who asks, such as a pod's projected service-account token"
    )
    client_cert_file: str | None = Field(default=None, title="File with a client certificate, instead of a token")
    client_key_file: str | None = Field(default=None, title="File with the client certificate's key")
    broker_connector: str | None = Field(
        default=None, title="The broker's own connector, where several of them serve the container"
    )

    @field_validator("endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        try:
            return parse_endpoint(value)
        except ValetKeyError as error:
            raise ValueError(error.message) from None


_TYPE_SPEC = ServiceConnectorTypeModel(
    name="Valet Key Service Connector",
    connector_type=CONNECTOR_TYPE,
    description="""
Leads stack components to a Valet Key broker, which hands each of them short-lived SAS tokens for single blob
containers. The connector holds no secret: the service principal stays with the broker, and every component proves who
it is by an identity that it already has.
""",
    emoji=":key:",
    supports_auto_configuration=True,
    auth_methods=[
        AuthenticationMethodModel(
            name="The identity of whoever asks",
            auth_method=IDENTITY,
            description="""
Everybody shows what it already has: what the environment says (VALETKEY_TOKEN_FILE, VALETKEY_API_KEY_FILE,
VALETKEY_CLIENT_CERT_FILE and VALETKEY_CLIENT_KEY_FILE …), otherwise the files that the connector names.
""",
            config_class=IdentityConfig,
        )
    ],
    resource_types=[
        ResourceTypeModel(
            name="Blob container behind Valet Key",
            resource_type=BLOB_CONTAINER,
            description="""
An Azure Blob container that grants of the broker allow. Resource names: az://CONTAINER, abfs://CONTAINER or CONTAINER.
""",
            auth_methods=[IDENTITY],
            supports_instances=True,
            emoji=":package:",
        )
    ],
)


class ValetKeyServiceConnector(ServiceConnector):  # type: ignore[misc]
    """Hands out a `BrokerAccess`. It has no expiry of its own: what it hands out renews its tokens by itself."""

    config: IdentityConfig

    @classmethod
    def _get_connector_type(cls) -> ServiceConnectorTypeModel:
        return _TYPE_SPEC

    def _canonical_resource_id(self, resource_type: str, resource_id: str) -> str:  # noqa: ARG002 (ZenML's signature)
        return canonical(resource_id)

    def _connect_to_resource(self, **_: Any) -> BrokerAccess:
        return self.way(self.resource_id or "")

    def _configure_local_client(self, **_: Any) -> None:
        raise NotImplementedError(
            "Valet Key gives no credential that a local client could keep; get a short-lived one with: "
            "valetkey token issue --resource az://CONTAINER --permissions read,list -o env"
        )

    @classmethod
    def _auto_configure(
        cls,
        auth_method: str | None = None,
        resource_type: str | None = None,
        resource_id: str | None = None,
        **_: Any,
    ) -> "ValetKeyServiceConnector":
        """Takes the endpoint and the files from `VALETKEY_…` and the client's config file; never an API key."""
        try:
            settings = load_settings()
        except ValetKeyError as error:
            raise NotImplementedError(f"nothing to configure the connector by: {error.message}") from None
        files = {
            "token_file": settings.identity.token_file,
            "client_cert_file": settings.identity.client_cert_file,
            "client_key_file": settings.identity.client_key_file,
        }
        return cls(
            auth_method=auth_method or IDENTITY,
            resource_type=resource_type or BLOB_CONTAINER,
            resource_id=resource_id,
            config=IdentityConfig(
                endpoint=settings.endpoint,
                ca_certificate=settings.ca_file.read_text() if settings.ca_file else None,
                **{name: str(path) for name, path in files.items() if path},
            ),
        )

    def _verify(self, resource_type: str | None = None, resource_id: str | None = None) -> list[str]:
        try:
            with closing(self.way(resource_id or "").client(_TIMEOUT_SECONDS)) as broker:
                if resource_type is None:
                    broker.who_am_i()
                    return []
                found = broker.list_resources(
                    resource_type=BLOB_CONTAINER, connector=self.config.broker_connector, resource_id=resource_id
                )
                names = list(dict.fromkeys(each.resource_id for one in found for each in one.resources))
                if resource_id is None:
                    return names or _nothing(found, broker.who_am_i().principal)
                # Azure may be away for the broker, which issues from memory then: what counts is what it would allow.
                if resource_id not in names and not any(one.error or one.incomplete for one in found):
                    raise AuthorizationException(_refused(resource_id, broker.who_am_i().principal))
                return [resource_id]
        except ValetKeyError as error:
            raise AuthorizationException(error.message) from None

    def way(self, resource: str) -> BrokerAccess:
        """Returns the way to the broker for a resource."""
        config = self.config
        return BrokerAccess(
            resource=resource,
            endpoint=config.endpoint,
            ca_file=config.ca_file or "",
            ca_certificate=config.ca_certificate or "",
            token_file=config.token_file or "",
            client_cert_file=config.client_cert_file or "",
            client_key_file=config.client_key_file or "",
            connector=config.broker_connector or "",
        )


def canonical(resource_id: str) -> str:
    """Returns `az://CONTAINER` for a container, however ZenML's users write it, paths below it included."""
    for scheme in _SCHEMES:
        if resource_id.startswith(scheme):
            resource_id = resource_id.removeprefix(scheme)
            break
    container = resource_id.partition("/")[0].partition("@")[0]
    return f"az://{container}"


def _nothing(found: list[ConnectorResources], principal: str) -> list[str]:
    for one in found:
        if one.error is not None:
            raise AuthorizationException(one.error.message)
    raise AuthorizationException(f"no grant lets {principal} use a container; {_ASK}")


def _refused(resource_id: str, principal: str) -> str:
    return f"{principal} may not use {resource_id}, or there is no such container; {_ASK}"


_ASK = (
    "ask whoever runs the broker for one: valetkey grant create NAME --principal … --connector … --container … "
    "--role step-operator"
)
