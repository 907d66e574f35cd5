"""What the broker needs of the outside, as Protocols; adapters/ has the real ones, tests have fakes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from valetkey_broker.errors import BrokerError
from valetkey_broker.model import (
    AzureConfig,
    CloudProfile,
    Connector,
    Container,
    Credential,
    CredentialField,
    CredentialValue,
    Event,
    EventFilter,
    Head,
    LeaseFilter,
    Principal,
    SasRequest,
    Secret,
    SignedToken,
    SigningKey,
    Standing,
    StoredEvent,
    TokenUse,
    Verification,
)
from valetkey_broker.model.account_settings import AccountSettings
from valetkey_broker.model.statically_frozen import statically_frozen
from valetkey_broker.ports.credential_maker import CredentialMaker
from valetkey_broker.ports.issuer_key_source import KeySource as KeySource
from valetkey_broker.ports.issuer_key_source import KeySourceError as KeySourceError
from valetkey_broker.ports.key_revoker import KeyRevoker

Clock = Callable[[], float]
"""Returns Unix seconds; `time.time` outside of tests."""


@statically_frozen
class CallerEvidence:
    """What a call brings along to say who makes it, as the transport vouches for it.

    `authorization` holds every header of that name. `certificate` is the client certificate (PEM) that TLS verified
    against the configured CAs, None without one. `peer` is the peer's address without its port. Headers that a proxy or
    a caller could write, such as `x-forwarded-for`, are not here, and so are never believed.
    """

    authorization: Sequence[str | bytes]
    certificate: bytes | None
    peer: str


class Authenticator(Protocol):
    """Turns evidence into a principal; the first verifier that recognises its kind of evidence decides."""

    async def authenticate(self, evidence: CallerEvidence) -> Principal:
        """Returns the principal. Raises BrokerError: one of CREDENTIALS_…, ISSUER_UNAVAILABLE where nobody can tell."""
        ...

    def standing(self, principal: Principal) -> Standing:
        """Tells whether `principal` could authenticate again now: not expired, and what vouched for it not withdrawn.

        UNKNOWN where `authenticate` would raise ISSUER_UNAVAILABLE.
        """
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """One stored entry and its version (from 1). `data` may hold secrets and does not show itself."""

    version: int
    data: Mapping[str, Any] = field(repr=False)


class CasMismatchError(Exception):
    """A check-and-set write found another version than it expected; nothing was written."""


class StateStore(Protocol):
    """Versioned documents with check-and-set: Vault's KV v2, seen narrowly.

    Paths are relative to the mount, for example `connectors/azure-blob-demo`. Every method raises BrokerError with
    VAULT_UNAVAILABLE where the store is away, sealed or refuses the broker.
    """

    async def open(self) -> None:
        """Logs in and starts keeping the login alive. Raises where the store cannot be used."""
        ...

    async def read(self, path: str, version: int | None = None) -> Document | None:
        """Returns the newest version, or `version`; None where there is none, or where it was destroyed."""
        ...

    async def read_many(self, paths: Sequence[str]) -> Sequence[Document | None]:
        """Returns the newest version at each of `paths`, as `read` does, at a lower price."""
        ...

    async def write(self, path: str, data: Mapping[str, Any], *, expected: int) -> int:
        """Writes a new version if the newest is `expected` (0: the path has never been written).

        Returns the new version. Raises CasMismatchError otherwise.
        """
        ...

    async def newest(self, path: str) -> int:
        """Returns the number of the newest version, destroyed or not; 0 where the path was never written."""
        ...

    async def names(self, folder: str) -> Sequence[str]:
        """Returns the names right below `folder`, sorted; empty where there is no such folder."""
        ...

    async def destroy(self, path: str, versions: Sequence[int]) -> None:
        """Destroys the data of `versions` for good; their numbers stay used. Unknown versions are passed over."""
        ...

    async def close(self) -> None:
        """Gives the login back and stops. Never raises."""
        ...


class AuthMethod(Protocol):
    """How connectors prove who they are: what has to be given, how it is checked, and how Vault keeps it."""

    @property
    def name(self) -> str:
        """As commands and documents write it, for example `service-principal`."""
        ...

    @property
    def title(self) -> str:
        """Its name for people, for example "Service principal"."""
        ...

    @property
    def help(self) -> str:
        """When to take it, and what it can and cannot, in a sentence or two."""
        ...

    @property
    def fetches_keys(self) -> bool:
        """Whether its signing keys are the cloud's, fetched for a while; otherwise the credential signs by itself."""
        ...

    @property
    def fields(self) -> Sequence[CredentialField]:
        """Everything that is given for it, in the order in which people are asked."""
        ...

    def parse(
        self, config: AzureConfig, secrets: Mapping[str, Secret], profile: CloudProfile
    ) -> tuple[AzureConfig, CredentialValue]:
        """Returns what an operator gave for the cloud `profile`, checked, in canonical form; `secrets` by field name.

        Asks nobody. What `encode` returns, parsed, is the same credential. Raises InvalidFieldError.
        """
        ...

    def encode(self, value: CredentialValue) -> Mapping[str, str]:
        """Returns the document that Vault keeps of a credential, secrets in the clear: hand it on at once."""
        ...

    def decode(self, document: Mapping[str, Any]) -> CredentialValue:
        """Returns the credential in such a document. Raises KeyError, TypeError or ValueError for a malformed one."""
        ...


@dataclass(frozen=True, slots=True)
class AccountSearch:
    """The storage accounts that were found, and the errors of those places that could not be looked through.

    `hierarchical` tells of accounts by name whether they have a hierarchical namespace, where the search says so.
    """

    accounts: Sequence[str]
    errors: Sequence[BrokerError] = ()
    hierarchical: Mapping[str, bool] = field(default_factory=dict)


class Cloud(KeyRevoker, Protocol):
    """An Azure cloud, seen through one connector at a time: for lists, of a single resource type (`Connector.by_type`).

    Raises BrokerError: CLOUD_CREDENTIAL_REJECTED, CLOUD_PERMISSION_MISSING, CLOUD_REQUEST_REFUSED, CLOUD_THROTTLED
    (with retry_after), CLOUD_UNAVAILABLE, RESOURCE_NOT_FOUND, or INVALID_FIELD where the connector's cloud profile is
    gone or accounts cannot be discovered; `metadata` has the failing `step`, and Azure's `azure_code` if it gave one.
    """

    @property
    def maker(self) -> CredentialMaker:
        """What makes credentials there."""
        ...

    async def log_in(self, connector: Connector, credential: Credential) -> None:
        """Proves the credential good, whatever is remembered of earlier log-ins."""
        ...

    async def find_accounts(self, connector: Connector, credential: Credential) -> AccountSearch:
        """Returns the storage accounts of the connector: the one it names, or those that the cloud shows.

        Errors of single places, such as a subscription that may not be looked through, stand beside what was found.
        """
        ...

    async def list_containers(self, connector: Connector, credential: Credential, account: str) -> Sequence[Container]:
        """Lists the containers of one account, by name."""
        ...

    async def check_container(self, connector: Connector, credential: Credential, account: str, name: str) -> Container:
        """Returns one container if it is there; rights on that one container are enough for it."""
        ...

    async def signing_key(
        self, connector: Connector, credential: Credential, account: str, *, starts: float, expires: float
    ) -> SigningKey:
        """Returns a key that signs tokens for `account`, good from `starts` to `expires` (Unix seconds)."""
        ...

    async def accepts(self, connector: Connector, container: Container, key: SigningKey) -> bool:
        """Tells whether storage accepts a token for `container` that `key` signs, by using one."""
        ...

    async def hierarchical(
        self, connector: Connector, credential: Credential, container: Container, key: SigningKey
    ) -> bool:
        """Tells whether the account of `container`, for which `key` signs, has a hierarchical namespace.

        Raises CLOUD_REQUEST_REFUSED where it does not say.
        """
        ...

    async def use_token(
        self, connector: Connector, container: Container, token: SignedToken, use: TokenUse, blob: str
    ) -> None:
        """Does one thing with a token. READ and LIST raise RESOURCE_NOT_FOUND where `blob` is not as it was written."""
        ...

    async def account_settings(
        self, connector: Connector, credential: Credential, accounts: Collection[str]
    ) -> Mapping[str, AccountSettings]:
        """Returns the settings of those of `accounts` that the cloud shows to the connector."""
        ...

    def clock_skew(self, connector: Connector) -> float | None:
        """Returns how many seconds the broker's clock is ahead of the cloud's; None where it has not answered yet."""
        ...

    def sign(self, request: SasRequest, lease_ids: Sequence[str]) -> Sequence[SignedToken]:
        """Returns a SAS for each of `lease_ids`, which nothing else tells apart; pure computation."""
        ...

    async def forget(self, connector_uid: str) -> None:
        """Closes what is held for a connector that went away."""
        ...

    async def close(self) -> None:
        """Closes everything. Never raises."""
        ...


class Ledger(Protocol):
    """The append-only record of every decision. Methods raise BrokerError with LEDGER_UNAVAILABLE where they cannot."""

    async def open(self) -> None:
        """Prepares the database and begins this writer's chain. Raises ConfigurationError where it is not usable."""
        ...

    async def record(self, *events: Event) -> None:
        """Records `events`, all or none; returns once they are durable. If it raises, nothing may be issued on them."""
        ...

    async def events(self, wanted: EventFilter) -> Sequence[StoredEvent]:
        """Returns events by id, oldest first."""
        ...

    async def leases(self, wanted: LeaseFilter) -> Sequence[StoredEvent]:
        """Returns the events of issued tokens, newest first."""
        ...

    async def verify(self, anchors: Sequence[Head] = ()) -> Verification:
        """Checks every chain, and that each anchor is still in it.

        One check at a time: raises RATE_LIMITED while another is running. One whose caller is cancelled ends.
        """
        ...

    def healthy(self) -> bool:
        """Tells whether the last write went through; recovers by itself."""
        ...

    async def close(self) -> None:
        """Writes what waits, then closes. Never raises."""
        ...
