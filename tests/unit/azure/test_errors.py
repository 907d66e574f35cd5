"""The one place that turns what Azure's libraries raise into the broker's errors."""

import socket
from email.utils import formatdate
from time import time
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceRequestError
from hypothesis import given
from hypothesis import strategies as st

from support.fake_cloud import FAKE_PROFILE
from valetkey_broker.adapters.azure.error_advice import Identity
from valetkey_broker.adapters.azure.error_classification import outcome
from valetkey_broker.adapters.azure.errors import Asking, Step, ask, broker_error
from valetkey_broker.adapters.azure.transport import Network
from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.errors import BrokerError, Reason

WHO = Identity("service principal a-client")
KEY = Asking(Step.DELEGATION_KEY, "demo", WHO, "demoaccount")
LOG_IN = Asking(Step.LOG_IN, "demo", WHO)


class Answer:
    """An HTTP answer, as far as azure-core's exceptions look at it."""

    reason = "because"

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.status_code = status
        self.headers = headers or {}

    def text(self, _encoding: str | None = None) -> str:
        return "secret text"


def _error(status: int, **headers: str) -> HttpResponseError:
    answer: Any = Answer(status, {name.replace("_", "-"): value for name, value in headers.items()})
    return HttpResponseError("secret text", response=answer)


@given(text=st.text(), status=st.integers(100, 599), code=st.text(max_size=80), wait=st.text(max_size=20))
def test_azures_text_never_goes_on(text: str, status: int, code: str, wait: str) -> None:
    """Whatever Azure answers, message and metadata hold only our words and well-formed codes."""
    answer: Any = Answer(status, {"x-ms-error-code": code, "Retry-After": wait})
    marked = f"<{text}>MARK"
    for asking in (KEY, LOG_IN):
        error = broker_error(ClientAuthenticationError(marked, response=answer), asking)
        assert "MARK" not in error.message + repr(error.metadata)
        found = error.metadata.get("azure_code", "")
        assert found == "" or (found.isascii() and found.replace("_", "").isalnum())
        assert error.retry_after is None or 0 <= error.retry_after <= 3600


def test_a_wait_given_as_a_date() -> None:
    """Retry-After may be a date; nonsense is no wait; the past is none either."""
    soon = broker_error(_error(429, Retry_After=formatdate(time() + 30, usegmt=True)), KEY).retry_after
    assert soon is not None
    assert 25 < soon <= 30
    assert broker_error(_error(429, Retry_After="soon"), KEY).retry_after is None
    assert broker_error(_error(429, Retry_After=formatdate(0, usegmt=True)), KEY).retry_after == 0


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("AADSTS90033", Reason.CLOUD_UNAVAILABLE),
        ("AADSTS90055", Reason.CLOUD_THROTTLED),
        ("AADSTS50196", Reason.CLOUD_THROTTLED),
        ("AADSTS53003", Reason.CLOUD_CREDENTIAL_REJECTED),
        ("AADSTS999999", Reason.CLOUD_CREDENTIAL_REJECTED),
    ],
)
def test_entras_codes_tell_later_from_never(code: str, reason: Reason) -> None:
    """Trouble of Entra's own, even under status 400, is not blamed on the credential."""
    answer: Any = Answer(400)
    error = broker_error(ClientAuthenticationError(f"{code}: secret text", response=answer), LOG_IN)
    assert (error.reason, error.metadata["azure_code"]) == (reason, code)


def test_an_account_that_dns_does_not_know() -> None:
    """In the public cloud an account that does not exist has no name in DNS."""
    key = ConnectionKey("demoaccount.blob.invalid", 443, True, True, None, None, None)
    dns = aiohttp.ClientConnectorDNSError(key, OSError(-2, "Name or service not known"))
    error = ServiceRequestError(dns, error=dns)
    error.__cause__ = dns
    assert broker_error(error, KEY).reason is Reason.RESOURCE_NOT_FOUND
    assert broker_error(error, LOG_IN).reason is Reason.CLOUD_UNAVAILABLE


@pytest.mark.parametrize("number", [socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM])
def test_a_dns_that_does_not_answer_is_no_missing_account(number: int) -> None:
    """A name that could not be looked up just now is not a name that is not there: the next try may succeed."""
    key = ConnectionKey("demoaccount.blob.invalid", 443, True, True, None, None, None)
    dns = aiohttp.ClientConnectorDNSError(key, socket.gaierror(number, "Temporary failure in name resolution"))
    error = ServiceRequestError(dns, error=dns)
    error.__cause__ = dns
    failure = broker_error(error, KEY)
    assert failure.reason is Reason.CLOUD_UNAVAILABLE
    assert "DNS does not tell" in failure.message


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (400, "InvalidQueryParameterValue", Reason.CLOUD_REQUEST_REFUSED),
        (409, "FeatureVersionMismatch", Reason.CLOUD_REQUEST_REFUSED),
        (412, "", Reason.CLOUD_REQUEST_REFUSED),
        (418, "", Reason.CLOUD_REQUEST_REFUSED),
        (409, "ContainerBeingDeleted", Reason.CLOUD_UNAVAILABLE),
        (408, "", Reason.CLOUD_UNAVAILABLE),
        (500, "InternalError", Reason.CLOUD_UNAVAILABLE),
        (503, "", Reason.CLOUD_UNAVAILABLE),
        (503, "ServerBusy", Reason.CLOUD_THROTTLED),
        (429, "", Reason.CLOUD_THROTTLED),
        (401, "", Reason.CLOUD_CREDENTIAL_REJECTED),
        (403, "AuthenticationFailed", Reason.CLOUD_CREDENTIAL_REJECTED),
        (403, "AuthorizationFailure", Reason.CLOUD_PERMISSION_MISSING),
        (404, "", Reason.RESOURCE_NOT_FOUND),
        (302, "", Reason.CLOUD_UNAVAILABLE),
    ],
)
def test_what_an_answer_means(status: int, code: str, reason: Reason) -> None:
    """What passes is told as passing, and what stays as final: a loop must know whether to go on."""
    assert outcome(status, code) is reason


async def test_mistakes_of_our_own_are_not_hidden() -> None:
    """An error that is no library's stumbling passes through as it is."""

    async def wrong() -> None:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake"):
        await ask(KEY, wrong)


async def test_asking_many_keeps_order_and_raises_the_worst() -> None:
    """Refused things are passed over, trouble is not; nothing at all is an empty list."""

    async def ask(thing: str) -> str:
        if thing.startswith("!"):
            raise BrokerError(Reason[thing[1:]], thing)
        return thing.upper()

    assert await outcomes([], ask) == []
    (one, two, three) = await outcomes(["b", "!RESOURCE_NOT_FOUND", "a"], ask)
    assert (one, three) == (("b", "B"), ("a", "A"))
    assert isinstance(two[1], BrokerError)
    assert two[1].reason is Reason.RESOURCE_NOT_FOUND


@pytest.mark.parametrize(
    "url",
    [
        "https://other.invalid/",
        "http://one.invalid/",
        "https://one.invalid:444/",
        "https://one.invalid.evil/",
        "https://x@one.invalid/",
    ],
)
async def test_a_transport_reaches_one_origin_only(url: str) -> None:
    """A link that an answer gives never carries a token to another host."""
    network = Network(FAKE_PROFILE, 1.0, 1.0)
    try:
        with pytest.raises(ServiceRequestError, match="another host"):
            await network.transport("https://one.invalid").send(Request(url))
    finally:
        await network.close()


class Request:
    """A request, as far as the transport looks before it refuses."""

    def __init__(self, url: str) -> None:
        self.url = url


@pytest.mark.parametrize(
    ("step", "container", "inside"),
    [(Step.DELEGATION_KEY, "", ""), (Step.WRITE, "$web", "/blobServices/default/containers/\\$web")],
)
def test_a_missing_role_comes_with_the_line_to_paste(step: Step, container: str, inside: str) -> None:
    """The command names who, which role and where; a shell takes it as it is."""
    scope = f"$(az storage account show --name demoaccount --query id --output tsv){inside}"
    asking = Asking(step, "demo", WHO, "demoaccount", container, assignee="client-1")
    error = broker_error(_error(403, x_ms_error_code="AuthorizationPermissionMismatch"), asking)
    role = "Storage Blob Delegator" if step is Step.DELEGATION_KEY else "Storage Blob Data Contributor"
    todo, _, command = error.mend.partition("\n")
    assert command == f'az role assignment create --assignee client-1 --role "{role}" --scope "{scope}"'
    assert error.message.endswith(todo)


def test_a_search_that_is_refused_names_where_it_looked() -> None:
    """Reader is to be assigned where the accounts are looked for."""
    asking = Asking(Step.ACCOUNTS, "demo", WHO, assignee="client-1", place="/subscriptions/s-1/resourceGroups/rg")
    error = broker_error(_error(403, x_ms_error_code="AuthorizationFailed"), asking)
    assert '--role "Reader" --scope "/subscriptions/s-1/resourceGroups/rg"' in error.mend


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("AuthorizationFailure", "network-rule add --account-name demoaccount"),
        (
            "KeyBasedAuthenticationNotPermitted",
            "storage account update --name demoaccount --allow-shared-key-access",
        ),
        ("AccountIsDisabled", ""),
    ],
)
def test_other_causes_have_other_remedies(code: str, words: str) -> None:
    """A firewall is not mended by a role, nor is a disabled account."""
    mend = broker_error(_error(403, x_ms_error_code=code), KEY).mend
    assert words in mend
    assert "role" not in mend
    assert mend or not words


def test_consumers_are_given_no_commands() -> None:
    """What is to be mended at Azure is none of their business."""
    error = broker_error(_error(403, x_ms_error_code="AuthorizationPermissionMismatch"), KEY)
    assert error.mend
    assert error.public().mend == ""
