"""The client against a fake broker, over real TLS."""

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

import valetkey
from support.fake_broker import API_KEY, SAS, Failure, FakeBroker, connector, entry, resource
from valetkey import (
    AzureConfig,
    Client,
    InvalidArgumentError,
    PermissionDeniedError,
    Token,
    TokenRequest,
    generate_api_key,
)
from valetkey.cli import auth_methods
from valetkey.cli import option_choices as words
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey_broker.errors import Reason


def test_every_public_name_loads() -> None:
    """Protects the lazy names of the package against a typing slip."""
    assert [name for name in valetkey.__all__ if not hasattr(valetkey, name)] == []
    assert set(valetkey.__all__) <= set(dir(valetkey))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = valetkey.nonsense


def test_a_token_and_what_is_sent_for_it(client: Client, broker: FakeBroker) -> None:
    """Protects the main job: plain values in, a token out, the key as a bearer in the metadata."""
    token = client.issue_token(
        "az://models", ["read", "list"], ttl=timedelta(minutes=15), connector="demo", source_ip="203.0.113.7"
    )
    (request,) = broker.requests
    assert (request.resource_id, request.ttl.seconds, request.connector) == ("az://models", 900, "demo")
    assert list(request.permissions) == [1, 6]
    assert broker.metadata["authorization"] == f"Bearer {API_KEY}"
    assert broker.metadata["user-agent"].startswith("valetkey/")
    assert token.sas_token == SAS
    assert token.sas_url == f"https://contosoml.blob.core.windows.net/models?{SAS}"
    assert token.permissions == ("read", "list")
    assert token.expire_time == datetime(2026, 5, 1, 12, 15, tzinfo=UTC)


def test_a_ttl_left_out_is_the_brokers(client: Client, broker: FakeBroker) -> None:
    """Protects the difference between "not said" and zero."""
    client.issue_token("az://models", ["read"])
    client.issue_token("az://models", ["read"], ttl=timedelta(0))
    assert [request.HasField("ttl") for request in broker.requests] == [False, True]


def test_many_tokens_in_one_call(client: Client, broker: FakeBroker) -> None:
    """Each result is a token or the error that a call of its own would have raised, in the order of the requests."""
    requests = [
        TokenRequest(resource=f"az://{name}", permissions=["read"]) for name in ("models/a", "denied", "models/b")
    ]
    first, refused, last = client.issue_tokens(requests)
    assert isinstance(first, Token)
    assert isinstance(last, Token)
    assert (first.resource.resource_id, last.resource.resource_id) == ("az://models/a", "az://models/b")
    assert isinstance(refused, PermissionDeniedError)
    assert (refused.reason, refused.code) == ("RESOURCE_DENIED", "PERMISSION_DENIED")
    assert len(broker.requests) == 1


def test_nothing_shows_its_secret(client: Client) -> None:
    """Protects tokens and keys from logs that print objects."""
    assert "PLANTED" not in repr(client.issue_token("az://models", ["read"]))
    assert API_KEY not in repr(client)


def test_values_that_cannot_be_sent_are_refused_here(client: Client, broker: FakeBroker) -> None:
    """Protects against a request that means something else than what was asked."""
    with pytest.raises(valetkey.InvalidArgumentError, match="permissions: 'bogus' is unknown; expected one of read"):
        client.issue_token("az://models", ["bogus"])
    with pytest.raises(valetkey.InvalidArgumentError, match="is one string; expected several"):
        client.issue_token("az://models", "read")
    with pytest.raises(valetkey.InvalidArgumentError, match=r"ttl: .* is longer than a duration can be"):
        client.issue_token("az://models", ["read"], ttl=timedelta.max)
    with pytest.raises(valetkey.InvalidArgumentError, match="expire_time: has no time zone"):
        client.create_api_key("k", roles=["viewer"], key_sha256=b"", expire_time=datetime(2026, 5, 1))  # noqa: DTZ001
    assert broker.requests == []


@pytest.mark.parametrize("ttl", [900, "15m", 900.0])
def test_a_ttl_of_another_kind_is_refused(ttl: Any, client: Client, broker: FakeBroker) -> None:
    """Protects callers from protobuf's own errors: this one names the field and shows what is meant."""
    with pytest.raises(valetkey.InvalidArgumentError, match=r"^ttl: .* is not a timedelta; expected .*minutes=15"):
        client.issue_token("az://models", ["read"], ttl=ttl)
    with pytest.raises(valetkey.InvalidArgumentError, match=r"^expire_time: .* is not a datetime"):
        client.create_api_key("k", roles=["viewer"], key_sha256=b"", expire_time=ttl)
    assert broker.requests == []


def test_a_call_after_close_is_an_error_of_ours(client: Client) -> None:
    """Protects programs that catch ValetKeyError from gRPC's ValueError."""
    client.close()
    client.close()
    with pytest.raises(valetkey.ValetKeyError, match="this client is closed"):
        client.list_connectors()


@pytest.mark.parametrize("timeout", [0, -1, 2.0**63, float("nan")])
def test_a_timeout_out_of_range_is_refused(timeout: float) -> None:
    """Protects against a deadline that overflows in gRPC, or is no deadline."""
    with pytest.raises(valetkey.InvalidArgumentError, match=r"timeout: .* out of range"):
        Client("b:1", api_key=API_KEY, timeout=timeout)


def test_a_connector_is_registered_shown_and_deleted(client: Client, broker: FakeBroker) -> None:
    """Protects the connector calls and the conversion of all their fields."""
    azure = AzureConfig("t-1", "c-1", "dev", "contosoml", "s-1", "rg")
    created = client.create_connector("demo", azure=azure, client_secret="s3cret", resource_id="az://models")
    sent = broker.requests[-1]
    assert sent.azure_secret.client_secret == "s3cret"
    assert (sent.azure.storage_account, sent.azure.subscription_id, sent.azure.resource_group) == (
        "contosoml",
        "s-1",
        "rg",
    )
    assert (sent.type, sent.auth_method, sent.resource_type) == (1, 1, 0)  # Its resource says the type.
    assert created.connector == client.get_connector("demo")
    assert created.connector.auth_method == "service-principal"
    assert [found.resource_id for found in created.resources] == ["az://demo-models", "az://demo-zenmlartifactstore"]
    assert client.verify_connector("demo") == created.resources
    client.delete_connector("demo")
    with pytest.raises(valetkey.NotFoundError):
        client.get_connector("demo")


def test_what_is_noted_down_of_a_connector_goes_there_and_back(client: Client, broker: FakeBroker) -> None:
    """Protects labels, description and the end of the credential, and lists that are narrowed down by them."""
    ends = datetime(2027, 6, 1, tzinfo=UTC)
    made = client.create_connector(
        "demo",
        azure=AzureConfig("t-1", "c-1"),
        client_secret="s3cret",
        description="nightly training",
        labels={"team": "ml"},
        expire_time=ends,
        expires_skew_tolerance=timedelta(days=1),
        verify=False,
    ).connector
    assert (made.description, made.labels, made.unverified) == ("nightly training", {"team": "ml"}, True)
    assert (made.expire_time, made.expires_skew_tolerance) == (ends, timedelta(days=1))
    assert [made.expired(ends - timedelta(hours=hours)) for hours in (25, 24, 0)] == [False, True, True]
    plain = client.create_connector("plain", azure=AzureConfig("t-1", "c-1"), client_secret="s3cret").connector
    assert (plain.labels, plain.expire_time, plain.expires_skew_tolerance, plain.unverified) == ({}, None, None, False)
    assert not plain.expired(ends)
    narrowed = client.list_connectors(
        type="azure", auth_method="service-principal", resource_type="blob-container", labels={"team": "ml"}
    )
    assert narrowed == [made]
    assert (broker.requests[-1].type, broker.requests[-1].auth_method, broker.requests[-1].resource_type) == (1, 1, 1)
    with pytest.raises(valetkey.InvalidArgumentError, match="auth_method"):
        client.list_connectors(auth_method="magic")


def test_which_resource_types_a_connector_serves(client: Client, broker: FakeBroker) -> None:
    """Protects multi-type connectors, and those of brokers that know none: they say the one type alone."""
    azure = AzureConfig("t-1", "c-1")
    every = client.create_connector("every", azure=azure, client_secret="s3cret").connector
    assert (every.resource_type, every.resource_types) == ("", ("blob-container",))
    one = client.create_connector("one", azure=azure, client_secret="s3cret", resource_type="blob-container").connector
    assert broker.requests[-1].resource_type == 1
    assert (one.resource_type, one.resource_types) == ("blob-container", ("blob-container",))
    broker.connectors["one"].ClearField("resource_types")
    assert client.get_connector("one") == one
    assert client.update_connector("every", resource_type="blob-container").connector.resource_type == "blob-container"
    assert client.update_connector("every", remove=["resource_type"]).connector.resource_type == ""
    for call in (client.update_connector, client.create_connector):
        with pytest.raises(
            valetkey.InvalidArgumentError, match="resource_type: 'queue' is unknown; expected one of blob"
        ):
            call("every", resource_type="queue")


def test_lists_follow_every_page(client: Client, broker: FakeBroker) -> None:
    """Protects against a list that ends after its first page."""
    names = [f"c{number}" for number in range(5)]
    broker.connectors = {name: connector(name) for name in names}
    assert [found.name for found in client.list_connectors()] == names
    for name in names:
        client.create_api_key(
            name, roles=["viewer"], key_sha256=b"x" * 32, expire_time=datetime(2026, 6, 1, tzinfo=UTC)
        )
    assert [key.name for key in client.list_api_keys()] == names
    client.revoke_api_key("c0")
    assert [key.name for key in client.list_api_keys()] == names[1:]


def test_a_failing_connector_is_an_entry_not_an_exception(client: Client, broker: FakeBroker) -> None:
    """Protects the others from one connector that fails."""
    broker.entries = [entry("good", resource("models")), entry("bad", error="AADSTS7000215 invalid client secret")]
    good, bad = client.list_resources(resource_type="blob-container", connector="c", resource_id="az://models")
    assert good.error is None
    assert good.resources[0].account == "contosoml"
    assert bad.error is not None
    assert (bad.error.reason, bad.error.message) == ("CLOUD_CREDENTIAL_REJECTED", "AADSTS7000215 invalid client secret")
    assert broker.requests[-1].resource_type == 1


def test_words_and_reasons_of_a_newer_broker_show_as_numbers(client: Client, broker: FakeBroker) -> None:
    """Protects an older client from breaking on a value it does not know."""
    broker.connectors["new"] = connector("new")
    broker.connectors["new"].auth_method = 99  # type: ignore[assignment]
    assert client.get_connector("new").auth_method == "unknown-99"
    broker.failures["GetConnector"] = Failure(grpc.StatusCode.ABORTED, "new", 999)
    with pytest.raises(valetkey.ConflictError) as caught:
        client.get_connector("new")
    assert caught.value.reason == "REASON_999"


def test_an_error_carries_all_the_broker_said(client: Client, broker: FakeBroker) -> None:
    """Protects what programs decide on: reason, metadata, request id, retry delay."""
    broker.failures["IssueToken"] = Failure(
        grpc.StatusCode.UNAVAILABLE,
        "Azure throttles",
        errors_pb.ERROR_REASON_CLOUD_THROTTLED,
        {"step": "log in to Entra"},
        "req-42",
        timedelta(seconds=7.5),
    )
    with pytest.raises(valetkey.UnavailableError, match=r"^Azure throttles$") as caught:
        client.issue_token("az://models", ["read"])
    error = caught.value
    assert (error.reason, error.code, error.request_id) == ("CLOUD_THROTTLED", "UNAVAILABLE", "req-42")
    assert (error.metadata, error.retry_delay) == ({"step": "log in to Entra"}, timedelta(seconds=7.5))
    assert not isinstance(error, valetkey.BrokerUnreachableError)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_of_the_broker_has_its_name(reason: Reason, client: Client, broker: FakeBroker) -> None:
    """Protects the round trip of each reason from the broker's enum to the client's error."""
    number = errors_pb.ErrorReason.Value(f"ERROR_REASON_{reason.name}")
    broker.failures["GetConnector"] = Failure(grpc.StatusCode.FAILED_PRECONDITION, "no", number)
    with pytest.raises(valetkey.FailedPreconditionError) as caught:
        client.get_connector("x")
    assert caught.value.reason == reason.name


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, valetkey.InvalidArgumentError),
        (grpc.StatusCode.UNAUTHENTICATED, valetkey.UnauthenticatedError),
        (grpc.StatusCode.PERMISSION_DENIED, valetkey.PermissionDeniedError),
        (grpc.StatusCode.NOT_FOUND, valetkey.NotFoundError),
        (grpc.StatusCode.ALREADY_EXISTS, valetkey.AlreadyExistsError),
        (grpc.StatusCode.ABORTED, valetkey.ConflictError),
        (grpc.StatusCode.FAILED_PRECONDITION, valetkey.FailedPreconditionError),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, valetkey.UnavailableError),
        (grpc.StatusCode.DEADLINE_EXCEEDED, valetkey.DeadlineExceededError),
        (grpc.StatusCode.INTERNAL, valetkey.ValetKeyError),
    ],
)
@pytest.mark.parametrize("bare", [False, True])
def test_every_code_has_its_class(
    code: grpc.StatusCode, kind: type[valetkey.ValetKeyError], bare: bool, client: Client, broker: FakeBroker
) -> None:
    """Protects `except NotFoundError:` and its like, with and without details."""
    broker.failures["GetConnector"] = Failure(code, "no", bare=bare)
    with pytest.raises(valetkey.ValetKeyError) as caught:
        client.get_connector("x")
    assert type(caught.value) is kind
    assert caught.value.code == code.name


def test_broken_details_leave_the_code_and_message(client: Client, broker: FakeBroker) -> None:
    """Protects against a proxy that mangles trailing metadata."""
    broker.failures["GetConnector"] = Failure(grpc.StatusCode.NOT_FOUND, "gone", garbage=True)
    with pytest.raises(valetkey.NotFoundError, match="answered NOT_FOUND: gone"):
        client.get_connector("x")


def test_a_call_the_broker_does_not_know(client: Client, broker: FakeBroker) -> None:
    """Protects whoever meets an older broker: the error says so."""
    broker.failures["GetConnector"] = Failure(grpc.StatusCode.UNIMPLEMENTED, "nope", bare=True)
    with pytest.raises(valetkey.ValetKeyError, match="is it older than this client"):
        client.get_connector("x")


def test_a_wrong_key(broker: FakeBroker) -> None:
    """Protects the way a refused key shows."""
    with (
        Client(broker.endpoint, api_key="vk_wrong", ca_file=broker.ca_file) as client,
        pytest.raises(valetkey.UnauthenticatedError) as caught,
    ):
        client.list_connectors()
    assert caught.value.reason == "CREDENTIALS_INVALID"
    assert "vk_wrong" not in str(caught.value)


def test_a_slow_broker_ends_at_the_deadline(broker: FakeBroker) -> None:
    """Protects callers from waiting for ever."""
    broker.failures["GetConnector"] = Failure(grpc.StatusCode.INTERNAL, "late", delay=60)
    with (
        Client(broker.endpoint, api_key=API_KEY, ca_file=broker.ca_file, timeout=0.2) as client,
    ):
        for _ in range(100):  # That is too short for a busy machine's connecting, which is not what is looked at.
            with contextlib.suppress(valetkey.ValetKeyError):
                client.list_connectors()
                break
        with pytest.raises(valetkey.DeadlineExceededError, match=r"did not answer within 0.2 s; try again"):
            client.get_connector("x")


def test_the_choices_of_the_command_line_are_the_words_of_the_api() -> None:
    """Protects the options from falling behind the API's enums."""
    from valetkey import convert, enums_and_times

    for choices, enum in (
        (words.ConnectorType, convert.CONNECTOR_TYPE),
        (words.ResourceType, enums_and_times.RESOURCE_TYPE),
        (words.Role, enums_and_times.ROLE),
    ):
        assert [choice.value for choice in choices] == enums_and_times.choices(enum)
    assert set(enums_and_times.choices(convert.AUTH_METHOD)) <= {method.value for method in auth_methods.AuthMethod}


def test_a_secret_that_the_api_does_not_know_is_refused_without_showing_it() -> None:
    """A mistyped field would otherwise be dropped, and the connector registered without it."""
    with Client("127.0.0.1:1", api_key=generate_api_key()) as client, pytest.raises(InvalidArgumentError) as caught:
        client.create_connector("demo", azure=AzureConfig("t", "c"), secrets={"client_secert": "PLANTED"})
    assert "client_secret" in str(caught.value)
    assert "PLANTED" not in str(caught.value)
