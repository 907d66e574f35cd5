"""Nothing leaks: every RPC, through success and every failure, with secrets planted wherever there are any."""

import base64
import contextlib
import hashlib
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import structlog
from google.protobuf import text_format
from google.protobuf.timestamp_pb2 import Timestamp

from support.captured_log import captured_log
from support.inproc import (
    ADMIN_KEY,
    CONSUMER_KEY,
    OPERATOR_KEY,
    SECRET,
    VIEWER_KEY,
    Broker,
    api_key_document,
    bearer,
    new_connector,
    running_broker,
    seed_keys,
)
from support.leaks import (
    ACCOUNT_KEY,
    CERTIFICATE,
    CERTIFICATE_PASSWORD,
    EXPIRED_KEY,
    NEW_KEY,
    PLANTED,
    ROLE_ID,
    SECRET_ID,
    WRONG_KEY,
    found_in,
)
from support.secret_quoting_fakes import Talkative, TalkativeStore
from valetkey.v1 import api_key_service_pb2 as keys
from valetkey.v1 import (
    common_pb2,
    credential_service_pb2,
    errors_pb2,
    expiry_service_pb2,
    grant_service_pb2,
    resource_service_pb2,
    secret_service_pb2,
    token_service_pb2,
)
from valetkey.v1 import connector_service_pb2 as connectors
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import EventFilter, LeaseFilter

pytestmark = pytest.mark.unmeasured

FAR = Timestamp(seconds=int(time.time()) + 3600)
NAMES = ("log_in", "list_containers", "signing_key", "sign")


CONNECTION_STRING = f"AccountName=demoaccount;AccountKey={ACCOUNT_KEY}"
MALFORMED = (
    ACCOUNT_KEY,
    f"{CONNECTION_STRING}\n",
    f"{CONNECTION_STRING};AccountKey={ACCOUNT_KEY}",
    f"AccountName={ACCOUNT_KEY};AccountKey=demoaccount",
    f"{ACCOUNT_KEY};AccountName=demoaccount",
    f"{CONNECTION_STRING};BlobEndpoint=https://{ACCOUNT_KEY}@demoaccount.blob.invalid/",
    f"{CONNECTION_STRING};EndpointSuffix={ACCOUNT_KEY}",
    f"AccountName=demoaccount;AccountKey={ACCOUNT_KEY[:-4]}",
    f"AccountName=demoaccount;SharedAccessSignature=sig={ACCOUNT_KEY}",
)


class Seen:
    """Everything that callers were shown."""

    def __init__(self) -> None:
        self.texts: list[bytes | str] = []
        self.codes: list[grpc.StatusCode] = []

    async def call(self, method: Any, request: Any, key: str | None) -> None:
        """Calls, and keeps the answer in every form in which it may be looked at."""
        try:
            answer = await method(request, metadata=bearer(key) if key else (), timeout=10)
        except grpc.aio.AioRpcError as error:
            self.codes.append(error.code())
            self.texts += [str(error), repr(error), error.details() or "", error.debug_error_string() or ""]
            self.texts += [value for item in error.trailing_metadata() or () for value in item]
            self.texts += [value for item in error.initial_metadata() or () for value in item]
            self.texts += [
                text_format.MessageToString(errors_pb2.ErrorStatus.FromString(value))
                for name, value in error.trailing_metadata() or ()
                if name == "grpc-status-details-bin"
            ]
            return
        self.codes.append(grpc.StatusCode.OK)
        self.texts += [answer.SerializeToString(), text_format.MessageToString(answer), repr(answer)]


def by_certificate(certificate: str, password: str = "", secret: str = "") -> Any:
    """Returns a request to register a service principal with a certificate."""
    request = new_connector("certified")
    request.azure_secret.CopyFrom(
        connectors.AzureSecret(
            client_certificate=certificate, client_certificate_password=password, client_secret=secret
        )
    )
    return request


def by_key(name: str, **secret: str) -> Any:
    """Returns a request to register a connector with the key of an account, by `account_key` or `connection_string`."""
    request = new_connector(name, storage_account="demoaccount", tenant_id="", client_id="")
    request.auth_method = (
        connectors.AUTH_METHOD_ACCOUNT_KEY if "account_key" in secret else connectors.AUTH_METHOD_CONNECTION_STRING
    )
    request.azure_secret.CopyFrom(connectors.AzureSecret(**secret))
    return request


def of_named_secrets(broker: Broker) -> list[tuple[Any, Any, str]]:
    """Returns the calls of SecretService, and of a connector that shares a secret."""
    secrets, plain = broker.secrets, new_connector()
    create = secret_service_pb2.CreateSecretRequest(
        name="az_secret",
        type=plain.type,
        auth_method=plain.auth_method,
        azure=plain.azure,
        azure_secret=plain.azure_secret,
        verify=True,
    )
    sharing = new_connector("sharing", authentication_secret="az_secret")
    update = secret_service_pb2.UpdateSecretRequest(name="az_secret", azure_secret=plain.azure_secret)
    holder = credential_service_pb2.CREDENTIAL_HOLDER_SECRET
    # To the value that is in use, which is refused.
    rotate = credential_service_pb2.RotateCredentialRequest(
        name="az_secret", holder=holder, azure_secret=plain.azure_secret
    )
    rotation = credential_service_pb2.GetRotationRequest(name="az_secret", holder=holder)
    named = {"name": "az_secret"}
    return [
        (secrets.CreateSecret, create, OPERATOR_KEY),
        (broker.connectors.CreateConnector, sharing, OPERATOR_KEY),
        (secrets.GetSecret, secret_service_pb2.GetSecretRequest(**named), VIEWER_KEY),
        (secrets.ListSecrets, secret_service_pb2.ListSecretsRequest(), VIEWER_KEY),
        (broker.credentials.RotateCredential, rotate, OPERATOR_KEY),
        (broker.credentials.GetRotation, rotation, VIEWER_KEY),
        (secrets.UpdateSecret, update, OPERATOR_KEY),
        (secrets.UpdateSecret, secret_service_pb2.UpdateSecretRequest(**named), OPERATOR_KEY),
        (secrets.DeleteSecret, secret_service_pb2.DeleteSecretRequest(**named), OPERATOR_KEY),
        (secrets.RenameSecret, secret_service_pb2.RenameSecretRequest(**named, new_name="az_new"), OPERATOR_KEY),
    ]


async def drive(broker: Broker, seen: Seen) -> None:
    """Calls every RPC: as it is meant, with wrong and missing keys, and with bad input that holds secrets."""
    stubs = broker.tokens, broker.connectors, broker.resources, broker.api_keys
    tokens, connector, resources, api_keys = stubs
    named = {"name": "azure-blob-demo"}
    create = keys.CreateApiKeyRequest(
        name="new",
        expire_time=FAR,
        key_sha256=hashlib.sha256(NEW_KEY.encode()).digest(),
    )
    issue = token_service_pb2.IssueTokenRequest(resource_id="demo", permissions=[1], purpose="training")
    granted = grant_service_pb2.Grant(
        name="training",
        principals=["key:trainer", "key:new"],
        connectors=[grant_service_pb2.GrantedConnector(name="azure-blob-demo")],
        containers=["demo"],
        permissions=[1],
    )
    question = grant_service_pb2.ExplainAccessRequest(resource_id="demo", permissions=[1], principal="key:trainer")
    plan: list[tuple[Any, Any, str]] = [
        (connector.CreateConnector, new_connector(), OPERATOR_KEY),
        (connector.CreateConnector, new_connector("multi", ""), OPERATOR_KEY),
        (connector.CheckConnector, check_of(new_connector("looked-at")), OPERATOR_KEY),
        (connector.ListConnectorTypes, connectors.ListConnectorTypesRequest(), VIEWER_KEY),
        (connector.CreateConnector, by_certificate(CERTIFICATE.pem()), OPERATOR_KEY),
        (connector.CreateConnector, by_key("keyed", account_key=ACCOUNT_KEY), OPERATOR_KEY),
        (connector.CreateConnector, by_key("strung", connection_string=CONNECTION_STRING), OPERATOR_KEY),
        (connector.GetConnector, connectors.GetConnectorRequest(name="keyed"), VIEWER_KEY),
        (connector.VerifyConnector, connectors.VerifyConnectorRequest(name="strung"), OPERATOR_KEY),
        (connector.GetConnector, connectors.GetConnectorRequest(**named), VIEWER_KEY),
        (connector.ListConnectors, connectors.ListConnectorsRequest(), VIEWER_KEY),
        (connector.VerifyConnector, connectors.VerifyConnectorRequest(**named), OPERATOR_KEY),
        (resources.ListResources, resource_service_pb2.ListResourcesRequest(), VIEWER_KEY),
        (broker.grants.CreateGrant, grant_service_pb2.CreateGrantRequest(grant=granted), ADMIN_KEY),
        (broker.grants.ListGrants, grant_service_pb2.ListGrantsRequest(), ADMIN_KEY),
        (broker.grants.ExplainAccess, question, ADMIN_KEY),
        (api_keys.CreateApiKey, create, ADMIN_KEY),
        (api_keys.ListApiKeys, keys.ListApiKeysRequest(), ADMIN_KEY),
        *of_named_secrets(broker),
        (tokens.IssueToken, issue, CONSUMER_KEY),
        (tokens.IssueToken, issue, NEW_KEY),
        (api_keys.RevokeApiKey, keys.RevokeApiKeyRequest(name="new"), ADMIN_KEY),
        (connector.DeleteConnector, connectors.DeleteConnectorRequest(name="multi"), OPERATOR_KEY),
        *(
            (connector.DeleteConnector, connectors.DeleteConnectorRequest(name=name), OPERATOR_KEY)
            for name in ("certified", "keyed", "strung")
        ),
        (connector.DeleteConnector, connectors.DeleteConnectorRequest(name="certified"), OPERATOR_KEY),
        (connector.DeleteConnector, connectors.DeleteConnectorRequest(name="sharing"), OPERATOR_KEY),
        (broker.secrets.DeleteSecret, secret_service_pb2.DeleteSecretRequest(name="az_new"), OPERATOR_KEY),
    ]
    for method, request, key in plan:
        await seen.call(method, request, key)
        for other in (None, WRONG_KEY, EXPIRED_KEY, VIEWER_KEY if key != VIEWER_KEY else WRONG_KEY):
            await seen.call(method, request, other)
    # With the end of the line that a file had.
    swapped = new_connector()
    swapped.azure_secret.client_secret = SECRET + "\n"
    refused = [
        by_certificate(CERTIFICATE.pem(), CERTIFICATE_PASSWORD),
        by_certificate(CERTIFICATE.pem(CERTIFICATE_PASSWORD), SECRET),
        by_certificate(CERTIFICATE.pfx(CERTIFICATE_PASSWORD)),
        by_certificate(CERTIFICATE.key_pem()),
        by_certificate(CERTIFICATE.pem()[:1700]),
        by_certificate(CERTIFICATE.pem(), secret=SECRET),
    ]
    refused += [by_key("keyed", account_key=text) for text in (f"{ACCOUNT_KEY}\n", ACCOUNT_KEY[:-2], f"x{ACCOUNT_KEY}")]
    refused += [by_key("strung", connection_string=text) for text in MALFORMED]
    for request in (new_connector(), swapped, *refused):
        await seen.call(connector.CreateConnector, request, OPERATOR_KEY)
    for request in (swapped, refused[0], refused[-1]):
        await seen.call(connector.CheckConnector, check_of(request), OPERATOR_KEY)


def check_of(request: connectors.CreateConnectorRequest) -> connectors.CheckConnectorRequest:
    """Asks what it would reach."""
    return connectors.CheckConnectorRequest(candidate=request)


def forget(broker: Broker) -> None:
    """Empties the caches, so that each call reaches the cloud again."""
    for connector in broker.core.memory.connectors.values():
        broker.core.keys.forget(connector.uid)
        broker.core.reach.forget(connector.uid)


async def broken_everywhere(broker: Broker, cloud: Talkative, store: TalkativeStore, seen: Seen) -> None:
    """Drives everything again with each call of cloud and store failing, in words of ours and in words of others."""
    for name in NAMES:
        forget(broker)
        cloud.breaks = name
        await drive(broker, seen)
    cloud.breaks = ""
    for name in NAMES:
        forget(broker)
        cloud.fail(name, BrokerError(Reason.CLOUD_UNAVAILABLE, "away", {"step": name}))  # type: ignore[arg-type]
        await drive(broker, seen)
    cloud.heal()
    for name in ("read", "write", "newest", "destroy", "names"):
        store.breaks = name
        await drive(broker, seen)
    store.breaks = ""


@contextlib.asynccontextmanager
async def planted(directory: Path) -> AsyncIterator[tuple[Broker, Talkative, TalkativeStore]]:
    """A broker with secrets in every place that has any."""
    store = TalkativeStore()
    await seed_keys(store)
    expired = api_key_document(EXPIRED_KEY, "admin", expires="2026-01-02T00:00:00+00:00")
    await store.write("api-keys/expired", expired, expected=0)
    # Edited by hand, and wrongly: the secrets are where codes, roles and dates should be.
    await store.write("api-keys/odd", {**expired, "roles": [SECRET], "expires_at": NEW_KEY}, expected=0)
    await store.write("connectors/odd", {"uid": SECRET, "type": SECRET, "resource": None}, expected=0)
    cloud = Talkative({"demoaccount": ["demo"]})
    async with running_broker(directory, store=store, cloud=cloud, vault={"poll_seconds": 0.02}) as broker:
        (directory / "role_id").write_text(ROLE_ID)
        (directory / "secret_id").write_text(SECRET_ID)
        await broker.ready()
        yield broker, cloud, store


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_nothing_leaks(tmp_path: Path, log_format: str, capfd: pytest.CaptureFixture[str]) -> None:
    """No log line, no answer, no error, no metadata and no repr holds a long-lived secret or an API key."""
    seen = Seen()
    with captured_log("debug", log_format) as log:
        async with planted(tmp_path) as (broker, cloud, store):
            await drive(broker, seen)
            await broken_everywhere(broker, cloud, store, seen)
            objects = [broker.core, broker.settings, *(getattr(broker.core, name) for name in broker.core.__slots__)]
            reprs = [repr(thing) for thing in objects]
            reprs += [repr(getattr(thing, "__dict__", "")) for thing in objects if thing not in (cloud, store)]
    assert set(seen.codes) >= {
        grpc.StatusCode.OK,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.INVALID_ARGUMENT,
    }
    assert log.text.count("unexpected error") > 20  # The failures were really there.
    assert {name: line for line in log.text.splitlines() for name in found_in(line)} == {}
    assert {name: text for text in seen.texts for name in found_in(text)} == {}
    assert {name: text for text in reprs for name in found_in(text)} == {}
    printed = capfd.readouterr()
    assert found_in(printed.out + printed.err) == set()


async def test_secrets_in_the_wrong_field(tmp_path: Path) -> None:
    """People paste the secret where the client id belongs; the caller is told, and the log does not keep it."""
    strays = [new_connector(**{field: SECRET}) for field in ("tenant_id", "client_id", "cloud", "storage_account")]
    strays += [new_connector(SECRET), new_connector(resource_id=SECRET)]
    seen = Seen()
    with captured_log() as log:
        async with planted(tmp_path) as (broker, _, _):
            for request in strays:
                await seen.call(broker.connectors.CreateConnector, request, OPERATOR_KEY)
            for key in (ADMIN_KEY, SECRET):
                await seen.call(broker.api_keys.RevokeApiKey, keys.RevokeApiKeyRequest(name=key), ADMIN_KEY)
    assert set(seen.codes) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert log.text.count("INVALID_FIELD") == 8
    assert found_in(log.text) == set()


async def test_a_key_in_the_wrong_field(tmp_path: Path) -> None:
    """An account's key has a shape of its own: pasted anywhere, neither the log nor the ledger keeps it."""
    fields = ("tenant_id", "client_id", "cloud", "storage_account", "subscription_id", "resource_group")
    strays = [new_connector(**{field: text}) for field in fields for text in (ACCOUNT_KEY, CONNECTION_STRING)]
    strays += [new_connector(resource_id=text) for text in (ACCOUNT_KEY, CONNECTION_STRING)]
    seen = Seen()
    with captured_log("debug") as log:
        async with planted(tmp_path) as (broker, _, _):
            for request in strays:
                await seen.call(broker.connectors.CreateConnector, request, OPERATOR_KEY)
            events = await broker.core.ledger.events(EventFilter())
    assert set(seen.codes) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert len(events) > len(strays)
    assert found_in(log.text + repr(events)) == set()


async def test_issued_tokens_are_not_logged(tmp_path: Path) -> None:
    """Neither log nor ledger holds the token, its signature, or the key behind it; the ledger has the lease."""
    with captured_log("debug") as log:
        async with planted(tmp_path) as (broker, cloud, _):
            await broker.connectors.CreateConnector(new_connector(), metadata=bearer(OPERATOR_KEY))
            await broker.allow()
            request = token_service_pb2.IssueTokenRequest(resource_id="demo", permissions=[1])
            answer = await broker.tokens.IssueToken(request, metadata=bearer(CONSUMER_KEY))
            (stored,) = await broker.core.ledger.leases(LeaseFilter())
    assert stored.event.lease_id == answer.lease_id
    secrets = {"token": answer.sas_token, "signature": f"fake-signature-of-{answer.lease_id}"}
    secrets |= {f"delegation key {key.account}": str(key.material) for key in cloud.keys}
    assert found_in(log.text, secrets) == set()
    # The hash of the signature is there on purpose.
    assert not any(secret in repr(stored) for secret in secrets.values())


ENCODINGS: dict[str, Callable[[str], str | bytes]] = {
    "as it is": str,
    "inside of a line": lambda secret: f'{{"event": "x {secret} y"}}',
    "upper case": str.upper,
    "percent-encoded": lambda secret: urllib.parse.quote(secret, safe=""),
    "base64": lambda secret: base64.b64encode(secret.encode()),
    "inside of longer base64": lambda secret: base64.b64encode(b"ab" + secret.encode() + b"cd"),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(b"a" + secret.encode() + b"z"),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "its first half": lambda secret: secret[: max(16, len(secret) // 2)],
    "its SHA-256": lambda secret: hashlib.sha256(secret.encode()).hexdigest(),
    "in a message": lambda secret: errors_pb2.ErrorDetail(metadata={"x": secret}).SerializeToString(),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", PLANTED)
def test_search_finds_what_is_planted(name: str, encoding: str) -> None:
    """The search can fail: each secret is found in each form."""
    assert name in found_in(ENCODINGS[encoding](PLANTED[name]))
    assert found_in(ENCODINGS[encoding]("nothing of the kind, and long enough")) == set()


async def test_search_finds_a_leak_of_the_broker(tmp_path: Path) -> None:
    """The drive can fail: a broker that logs or answers a secret in words nobody redacts is caught."""
    seen = Seen()
    with captured_log() as log:
        async with planted(tmp_path) as (broker, cloud, _):
            structlog.get_logger().info("a careless line", note=f"logging in with {SECRET}")
            cloud.fail("list_containers", BrokerError(Reason.CLOUD_UNAVAILABLE, f"not with {SECRET}"))
            await seen.call(broker.connectors.CreateConnector, new_connector(), OPERATOR_KEY)
    assert found_in(log.text) == {"client secret"}
    assert {name for text in seen.texts for name in found_in(text)} == {"client secret"}


def test_careless_lines_are_redacted() -> None:
    """What authors of log lines forget is caught by type, by name and by shape; messages of the API are not shown."""
    with captured_log() as log:
        line = structlog.get_logger()
        line.info("request", request=new_connector(), client_secret=SECRET, metadata=dict(bearer(ADMIN_KEY)))
        line.info(f"header was Bearer {OPERATOR_KEY}", answers=[new_connector()])
    assert "CreateConnectorRequest" in log.text
    assert found_in(log.text) == set()


SECRET_FIELDS = {
    "valetkey.v1.AzureSecret.client_certificate",
    "valetkey.v1.AzureSecret.client_certificate_password",
    "valetkey.v1.AzureSecret.client_secret",
    "valetkey.v1.AzureSecret.account_key",
    "valetkey.v1.AzureSecret.connection_string",
    "valetkey.v1.CreateApiKeyRequest.key_sha256",
    "valetkey.v1.RotateApiKeyRequest.key_sha256",
    "valetkey.v1.IssueTokenResponse.sas_token",
}


NAMES_OF_SECRETS = {
    "valetkey.v1.Connector.authentication_secret",
    "valetkey.v1.CreateConnectorRequest.authentication_secret",
    "valetkey.v1.NamedSecret.secret_fields",
    # What may be told of a secret: NamedSecret, in which the search below finds nothing secret.
    *(f"valetkey.v1.{call}SecretResponse.secret" for call in ("Create", "Get", "Update", "Rename")),
    "valetkey.v1.ListSecretsResponse.secrets",
    "valetkey.v1.SetRotationScheduleResponse.secret",
}


def test_secret_fields_are_marked() -> None:
    """Fields that hold a secret are `debug_redact`, for tools that honour it, and no answer has a long-lived one."""
    modules = (
        keys,
        common_pb2,
        connectors,
        credential_service_pb2,
        expiry_service_pb2,
        resource_service_pb2,
        secret_service_pb2,
        token_service_pb2,
    )
    files = [module.DESCRIPTOR for module in modules]
    fields = [field for file in files for message in file.message_types_by_name.values() for field in message.fields]
    assert {field.full_name for field in fields if field.GetOptions().debug_redact} == SECRET_FIELDS
    suspicious = ("secret", "password", "certificate", "sha256", "sas", "private", "account_key", "connection_string")
    held = [field for field in fields if field.type != field.TYPE_BOOL]  # Whether something is secret, is none.
    named = {field.full_name for field in held if any(word in field.name for word in suspicious)}
    holders = {
        f"valetkey.v1.{change}{what}Request.azure_secret"
        for change in ("Create", "Update")
        for what in ("Connector", "Secret")
    } | {"valetkey.v1.RotateCredentialRequest.azure_secret"}
    assert named == SECRET_FIELDS | holders | NAMES_OF_SECRETS
    answers = [message for file in files for message in file.message_types_by_name.values() if _is_answer(message.name)]
    assert {name for message in answers for name in _reached(message)} & SECRET_FIELDS == {
        "valetkey.v1.IssueTokenResponse.sas_token"
    }


def _is_answer(name: str) -> bool:
    return name.endswith("Response")


def _reached(message: Any) -> set[str]:
    names: set[str] = set()
    for field in message.fields:
        names.add(field.full_name)
        if field.message_type is not None:
            names |= _reached(field.message_type)
    return names
