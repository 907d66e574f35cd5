"""Who may call what: the table, held against the running broker, method by method and role by role."""

import grpc
import pytest

from support.failed_calls import failure
from support.inproc import ADMIN_KEY, AUDITOR_KEY, CONSUMER_KEY, OPERATOR_KEY, VIEWER_KEY, Broker, bearer
from valetkey_broker.api.methods import METHODS
from valetkey_broker.rpc.method import Access

pytestmark = pytest.mark.unmeasured

KEYS = {
    "admin": ADMIN_KEY,
    "operator": OPERATOR_KEY,
    "viewer": VIEWER_KEY,
    "auditor": AUDITOR_KEY,
    "no role": CONSUMER_KEY,
}
EVERYBODY = set(KEYS)
# Written down a second time on purpose: whoever widens the table has to say so here too.
EXPECTED = {
    "TokenService/IssueToken": EVERYBODY,
    "TokenService/IssueTokens": EVERYBODY,
    "TokenService/WatchToken": EVERYBODY,
    "ConnectorService/CreateConnector": {"admin", "operator"},
    "ConnectorService/GetConnector": {"admin", "operator", "viewer"},
    "ConnectorService/ListConnectors": {"admin", "operator", "viewer"},
    "ConnectorService/UpdateConnector": {"admin", "operator"},
    "ConnectorService/DeleteConnector": {"admin", "operator"},
    "ConnectorService/VerifyConnector": {"admin", "operator"},
    "ConnectorService/DropSigningKeys": {"admin", "operator"},
    "ConnectorService/CheckConnector": {"admin", "operator"},
    "ConnectorService/ListConnectorTypes": EVERYBODY,
    "SecretService/CreateSecret": {"admin", "operator"},
    "SecretService/GetSecret": {"admin", "operator", "viewer"},
    "SecretService/ListSecrets": {"admin", "operator", "viewer"},
    "SecretService/UpdateSecret": {"admin", "operator"},
    "SecretService/RenameSecret": {"admin", "operator"},
    "SecretService/DeleteSecret": {"admin", "operator"},
    "CredentialService/RotateCredential": {"admin", "operator"},
    "CredentialService/GetRotation": {"admin", "operator", "viewer"},
    "CredentialService/AbortRotation": {"admin", "operator"},
    "CredentialService/RollbackCredential": {"admin", "operator"},
    "CredentialService/SetRotationSchedule": {"admin", "operator"},
    "CredentialService/ListCredentialVersions": {"admin", "operator", "viewer"},
    "RevocationService/PreviewRevocation": {"admin", "operator"},
    "RevocationService/CreateRevocation": {"admin", "operator"},
    "RevocationService/ListRevocations": {"admin", "operator", "auditor"},
    "RevocationService/LiftRevocation": {"admin", "operator"},
    "ResourceService/ListResources": EVERYBODY,
    "IdentityService/WhoAmI": EVERYBODY,
    "ApiKeyService/CreateApiKey": {"admin"},
    "ApiKeyService/ListApiKeys": {"admin"},
    "ApiKeyService/RotateApiKey": {"admin"},
    "ApiKeyService/RevokeApiKey": {"admin"},
    "ExpiryService/ListExpiring": {"admin", "operator", "viewer"},
    "ExpiryService/GetIssuingLeft": {"admin", "operator", "viewer", "auditor"},
    "GrantService/CreateGrant": {"admin"},
    "GrantService/GetGrant": {"admin", "operator", "auditor"},
    "GrantService/ListGrants": {"admin", "operator", "auditor"},
    "GrantService/UpdateGrant": {"admin"},
    "GrantService/DeleteGrant": {"admin"},
    "GrantService/ExplainAccess": EVERYBODY,
    "LedgerService/ListLeases": {"admin", "operator", "auditor"},
    "LedgerService/ListEvents": {"admin", "auditor"},
    "LedgerService/VerifyLedger": {"admin", "auditor"},
    "LedgerService/DiagnoseToken": EVERYBODY,
    "LoginService/GetLoginSettings": EVERYBODY,
}
# And without a key, too: it comes before any identity, and says what the settings say.
PUBLIC = "/valetkey.v1.LoginService/GetLoginSettings"
OURS = sorted(method for method in METHODS if method.startswith("/valetkey.v1."))


def test_table_is_the_expected_one() -> None:
    """No method gains or loses a role unnoticed."""
    shown = {method.removeprefix("/valetkey.v1."): METHODS[method].needs for method in OURS}
    roles = {
        method: EVERYBODY if isinstance(needs, Access) else {role.value for role in needs}
        for method, needs in shown.items()
    }
    assert roles == EXPECTED
    assert [method for method in OURS if METHODS[method].needs is Access.PUBLIC] == [PUBLIC]


@pytest.mark.parametrize("role", sorted(KEYS))
@pytest.mark.parametrize("method", OURS)
async def test_role_per_method(broker: Broker, method: str, role: str) -> None:
    """A role outside the table is refused with what is needed; one inside gets past the guard."""
    call = broker.channel.unary_unary(method)(b"", metadata=bearer(KEYS[role]))
    allowed = EXPECTED[method.removeprefix("/valetkey.v1.")]
    if role not in allowed:
        refused = await failure(call)
        assert refused.short == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
        assert refused.metadata == {"method": method, "needs": " or ".join(sorted(allowed))}
        return
    code = await call.code()
    assert code is grpc.StatusCode.OK or (await failure(call)).short == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
    )


@pytest.mark.parametrize("method", [method for method in OURS if method != PUBLIC])
async def test_no_method_without_a_key(broker: Broker, method: str) -> None:
    """Every other method of ours asks for a key first."""
    refused = await failure(broker.channel.unary_unary(method)(b""))
    assert refused.short == (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIALS_MISSING")


@pytest.mark.parametrize("method", OURS)
async def test_requests_are_read_after_authorisation(broker: Broker, method: str) -> None:
    """Bytes that are no message are refused as a field is, and only for callers who may call at all."""
    call = broker.channel.unary_unary(method)
    refused = await failure(call(b"\xff\xff\xff", metadata=bearer(ADMIN_KEY)))
    assert refused.short == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refused.metadata["field"] == "request"
    assert "Decode" not in refused.message
    stranger = "INVALID_FIELD" if method == PUBLIC else "CREDENTIALS_MISSING"
    assert (await failure(call(b"\xff\xff\xff"))).reason == stranger


async def test_where_people_log_in_is_told_without_a_key(broker: Broker) -> None:
    """A broker whose settings offer no log-in says so, with an empty list, to whoever asks."""
    assert await broker.channel.unary_unary(PUBLIC)(b"") == b""
