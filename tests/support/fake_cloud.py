"""A cloud in memory, for tests of what stands above the port.

The contract suite, tests/contract/test_cloud.py, holds it to the port.
"""

import asyncio
import hashlib
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from itertools import count
from typing import Literal
from urllib.parse import urlencode

from support.fake_maker import FakeMaker
from valetkey_broker.adapters.azure.auth_methods.account_key import AccountKey
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.adapters.azure.connection_string import AccountAndKey
from valetkey_broker.errors import BrokerError, Reason, namespace_unknown
from valetkey_broker.model import (
    BLOB_CONTAINER,
    CloudProfile,
    Connector,
    Container,
    Credential,
    SasRequest,
    Secret,
    SignedToken,
    SigningKey,
    TokenUse,
)
from valetkey_broker.model.account_settings import AccountSettings
from valetkey_broker.ports import AccountSearch
from valetkey_broker.ports.credential_maker import CredentialMaker

Call = Literal[
    "log_in",
    "find_accounts",
    "list_containers",
    "check_container",
    "signing_key",
    "accepts",
    "hierarchical",
    "use_token",
    "account_settings",
    "revoke_delegation_keys",
    "sign",
]


class Step(Enum):
    """Steps as errors name them to people, the same as the real adapter's."""

    LOG_IN = "log in to Entra"
    ACCOUNTS = "list storage accounts"
    CONTAINERS = "list containers"
    CONTAINER = "look at the container"
    DELEGATION_KEY = "get a user delegation key"
    PROBE = "use a token"
    ACCOUNT_KEY = "use the account key"
    REVOKE_KEYS = "revoke user delegation keys"


FAKE_PROFILE = CloudProfile(
    name="dev",
    authority="https://login.invalid",
    arm_endpoint="https://arm.invalid",
    blob_endpoint="https://{account}.blob.invalid",
    correlation_id=False,
)


class FakeCloud:
    """Implements `valetkey_broker.ports.Cloud`.

    `containers` by account may be changed at any time, `others`, which has the same of other resource types by their
    names, too, and so may `with_directories`, the accounts with hierarchical namespace, `silent`, which do not say, and
    `left_out_of_search`, of which only storage does. Accounts that are `sick` answer everything with that error;
    `search_errors` stand beside what a search finds. With `secrets` given, only these log in; otherwise all do. Where
    it is `generous`, tokens do what they are not for. `calls` counts by method name; `keys` holds every signing key
    handed out.
    """

    def __init__(
        self,
        containers: Mapping[str, Iterable[str]] | None = None,
        *,
        profile: CloudProfile = FAKE_PROFILE,
        secrets: Iterable[str] | None = None,
    ) -> None:
        self.profile = profile
        self.maker: CredentialMaker = FakeMaker("", Secret("no application of the fake's"))
        self.containers = {account: set(names) for account, names in (containers or {}).items()}
        self.others: dict[str, dict[str, set[str]]] = {}
        self.secrets = None if secrets is None else set(secrets)
        self.unlistable: set[str] = set()
        self.with_directories: set[str] = set()
        self.silent: set[str] = set()
        self.left_out_of_search: set[str] = set()
        self.sick: dict[str, BrokerError] = {}
        self.search_errors: list[BrokerError] = []
        self.revoked: set[object] = set()
        self.revoked_at = 0.0
        self.ordered: list[str] = []
        self.acts_on_orders = True
        self.calls: Counter[str] = Counter()
        self.keys: list[SigningKey] = []
        self.signed: list[SasRequest] = []
        self.signed_ids: list[str] = []
        self.forgotten: list[str] = []
        self.blobs: set[tuple[str, str, str]] = set()
        self.settings: dict[str, AccountSettings] = {}
        self.skew: float | None = 0.0
        self.generous = False
        self.tokens: dict[str, SasRequest] = {}
        self.closed = False
        self._failures: dict[str, tuple[BrokerError, int | None]] = {}
        self._delays: dict[str, float] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self._at_gates: Counter[str] = Counter()
        self._serial = count(1)
        self._account_keys: dict[str, str] = {}  # by the material of the signing key

    # What a test turns.

    def fail(
        self,
        call: Call | Literal["write", "read", "list", "delete", "outside"],
        error: BrokerError | Reason,
        *,
        times: int | None = None,
    ) -> None:
        """Makes `call` raise `error` for the next `times` calls, or until `heal`."""
        if isinstance(error, Reason):
            error = BrokerError(error, f"the fake fails {call}", {"step": call, "azure_code": "FakeFailure"})
        self._failures[call] = (error, times)

    def slow(self, call: Call, seconds: float) -> None:
        """Makes `call` take `seconds`; 0 makes it quick again."""
        self._delays[call] = seconds

    def hold(self, call: Call) -> asyncio.Event:
        """Makes `call` wait until the returned event is set."""
        return self._gates.setdefault(call, asyncio.Event())

    @property
    def holds_somebody(self) -> bool:
        """Whether a call waits for the event that `hold` returned."""
        return any(self._at_gates[call] and not gate.is_set() for call, gate in self._gates.items())

    def heal(self) -> None:
        """Ends every failure and delay, and lets go of what is held."""
        self._failures.clear()
        self._delays.clear()
        for gate in self._gates.values():
            gate.set()
        self._gates.clear()

    # The port.

    async def log_in(self, connector: Connector, credential: Credential) -> None:
        await self._begin("log_in")
        self._check(connector, credential)

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        await self._begin("find_accounts")
        self._check(connector, credential)
        if connector.azure.storage_account:
            return AccountSearch([connector.azure.storage_account])
        if not self.profile.arm_endpoint:
            raise _error(
                Reason.INVALID_FIELD,
                f"Cloud {self.profile.name} cannot discover storage accounts; name one in the connector.",
                Step.ACCOUNTS,
                connector,
            )
        told = self.containers.keys() - self.silent - self.left_out_of_search
        said = {account: account in self.with_directories for account in told}
        return AccountSearch(sorted(self.containers), [self._again(each) for each in self.search_errors], said)

    async def list_containers(self, connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        await self._begin("list_containers", account)
        self._check(connector, credential)
        if account not in self.containers:
            raise self._no_account(connector, account, Step.CONTAINERS)
        if account in self.unlistable:
            raise _error(
                Reason.CLOUD_PERMISSION_MISSING,
                "The service principal may not list containers.",
                Step.CONTAINERS,
                connector,
                azure_code="AuthorizationPermissionMismatch",
                account=account,
            )
        names = sorted(self._of_type(connector).get(account, ()))
        return [self._container(connector, account, name) for name in names]

    async def check_container(self, connector: Connector, credential: Credential, account: str, name: str) -> Container:
        await self._begin("check_container", account)
        self._check(connector, credential)
        if name not in self._of_type(connector).get(account, ()):
            raise _error(
                Reason.RESOURCE_NOT_FOUND,
                f"There is no container {name} at storage account {account}.",
                Step.CONTAINER,
                connector,
                azure_code="ContainerNotFound",
                account=account,
            )
        return self._container(connector, account, name)

    async def signing_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> SigningKey:
        await self._begin("signing_key")
        of_account = not isinstance(credential.value, ClientSecret)
        if not of_account:  # An account's key is at hand: nobody is asked whether it is a good one.
            self._check(connector, credential)
        if account not in self.containers:
            raise self._no_account(connector, account, Step.DELEGATION_KEY)
        key = SigningKey(
            account=account,
            starts=0.0 if of_account else float(int(starts)),
            expires=math.inf if of_account else float(int(expires)),
            material=f"{connector.uid}.{credential.version}.{next(self._serial)}",
        )
        if of_account:
            self._account_keys[str(key.material)] = _secret(credential)
        self.keys.append(key)
        return key

    async def accepts(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        await self._begin("accepts", container.account)
        account_key = self._account_keys.get(str(key.material))
        if account_key is not None and self.secrets is not None and account_key not in self.secrets:
            return False
        return key.material not in self.revoked and key.starts >= self.revoked_at

    async def hierarchical(
        self, connector: Connector, credential: Credential, container: Container, key: SigningKey
    ) -> bool:
        await self._begin("hierarchical", container.account)
        self._check(connector, credential)
        if container.account in self.silent:
            raise namespace_unknown(connector.name, "look at the storage account", container.account)
        return container.account in self.with_directories

    async def use_token(
        self, connector: Connector, container: Container, token: SignedToken, use: TokenUse, blob: str
    ) -> None:
        await self._begin("use_token", container.account)
        self._raise_planned(use.name.lower())
        request = self.tokens[token.sas_token]
        place = (container.account, container.name, blob)
        letter = {"WRITE": "w", "READ": "r", "LIST": "l", "DELETE": "d"}.get(use.name, "-")
        named = (request.scope.account, request.scope.container)
        if not self.generous and (place[:2] != named or letter not in request.permissions.sp):
            raise _error(
                Reason.CLOUD_CREDENTIAL_REJECTED,
                "The token was not accepted.",
                Step.PROBE,
                connector,
                azure_code="AuthenticationFailed",
                account=container.account,
            )
        if use in (TokenUse.READ, TokenUse.LIST) and place not in self.blobs:
            raise _error(Reason.RESOURCE_NOT_FOUND, "It is not there.", Step.PROBE, connector)
        if use is TokenUse.WRITE:
            self.blobs.add(place)
        elif use is TokenUse.DELETE:
            self.blobs.discard(place)

    async def account_settings(
        self, connector: Connector, credential: Credential, accounts: Collection[str]
    ) -> Mapping[str, AccountSettings]:
        await self._begin("account_settings")
        self._check(connector, credential)
        return {account: self.settings[account] for account in accounts if account in self.settings}

    async def revoke_delegation_keys(self, connector: Connector, credential: Credential, account: str) -> None:
        await self._begin("revoke_delegation_keys", account)
        self._check(connector, credential)
        if account not in self.containers:
            raise self._no_account(connector, account, Step.REVOKE_KEYS)
        self.ordered.append(account)
        if self.acts_on_orders:
            self.act_on_orders()

    def act_on_orders(self) -> None:
        """Has storage refuse the keys of every account that an order was given for, as it does sooner or later."""
        self.revoked.update(key.material for key in self.keys if key.account in self.ordered)

    def clock_skew(self, connector: Connector) -> float | None:
        return self.skew

    def revoke_keys(self, at: float = 0.0) -> None:
        """Makes storage refuse every key handed out so far, and later ones that begin before `at`, as Azure does."""
        self.revoked_at = int(at)
        self.revoked.update(key.material for key in self.keys)

    def sign(self, request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
        return [self._signed(request, lease_id) for lease_id in lease_ids]

    def _signed(self, request: SasRequest, lease_id: str) -> SignedToken:
        self.calls["sign"] += 1
        self._raise_planned("sign")
        self.signed.append(request)
        self.signed_ids.append(lease_id)
        fields = {
            "sv": "fake",
            "st": _iso(request.starts),
            "se": _iso(request.expires),
            "sr": request.scope.kind.value,
            "sp": request.permissions.sp,
            "spr": "https",
            "sip": request.source_ip,
            "scid": lease_id if request.profile.correlation_id else "",
            "account": request.scope.account,
            "container": request.scope.container,
            "path": request.scope.path,
            "key": str(request.key.material),
            "sig": f"fake-signature-of-{lease_id}",
        }
        query = urlencode({name: value for name, value in fields.items() if value})
        self.tokens[query] = request
        return SignedToken(query, hashlib.sha256(fields["sig"].encode()).hexdigest())

    async def forget(self, connector_uid: str) -> None:
        self.forgotten.append(connector_uid)

    async def close(self) -> None:
        self.closed = True

    async def _begin(self, call: Call, account: str = "") -> None:
        self.calls[call] += 1
        if gate := self._gates.get(call):
            self._at_gates[call] += 1
            try:
                await gate.wait()
            finally:
                self._at_gates[call] -= 1
        if delay := self._delays.get(call):
            await asyncio.sleep(delay)
        self._raise_planned(call)
        if account in self.sick:
            raise self._again(self.sick[account])

    def _of_type(self, connector: Connector) -> Mapping[str, set[str]]:
        assert connector.resource_type is not None, "a connector of several types is asked type by type"
        return self.containers if connector.resource_type == BLOB_CONTAINER else self.others[connector.resource_type]

    def _container(self, connector: Connector, account: str, name: str) -> Container:
        return Container.of(self.profile, account, name, connector.resource_type or BLOB_CONTAINER)

    def _raise_planned(self, call: Call) -> None:
        planned = self._failures.get(call)
        if planned is None:
            return
        error, times = planned
        if times is not None:
            if times <= 1:
                del self._failures[call]
            else:
                self._failures[call] = (error, times - 1)
        raise self._again(error)

    @staticmethod
    def _again(error: BrokerError) -> BrokerError:
        # A fresh one each time: a shared exception object would collect the tracebacks of all its raisers.
        return error.again_in(error.retry_after)

    def _check(self, connector: Connector, credential: Credential) -> None:
        if self.secrets is None or _secret(credential) in self.secrets:
            return
        if isinstance(credential.value, ClientSecret):
            raise _error(
                Reason.CLOUD_CREDENTIAL_REJECTED,
                f"Entra refused the log-in of service principal {connector.azure.client_id}: "
                "AADSTS7000215 invalid client secret.",
                Step.LOG_IN,
                connector,
                azure_code="AADSTS7000215",
            )
        raise _error(
            Reason.CLOUD_CREDENTIAL_REJECTED,
            "AuthenticationFailed: the account key was not accepted.",
            Step.ACCOUNT_KEY,
            connector,
            azure_code="AuthenticationFailed",
            account=connector.azure.storage_account,
        )

    def _no_account(self, connector: Connector, account: str, step: Step) -> BrokerError:
        return _error(
            Reason.RESOURCE_NOT_FOUND,
            f"There is no storage account {account}.",
            step,
            connector,
            azure_code="ResourceNotFound",
            account=account,
        )


def _error(
    reason: Reason, message: str, step: Step, connector: Connector, *, azure_code: str = "", account: str = ""
) -> BrokerError:
    metadata = {"step": step.value, "connector": connector.name, "azure_code": azure_code, "account": account}
    return BrokerError(reason, message, {name: value for name, value in metadata.items() if value})


def _secret(credential: Credential) -> str:
    value = credential.value
    if isinstance(value, AccountKey | AccountAndKey):
        return value.account_key.reveal()
    assert isinstance(value, ClientSecret)
    return value.client_secret.reveal()


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
