"""Why storage may refuse a token that the broker issued: what its record, its connector and its grant say to that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from valetkey_broker.connectors.account_checks import check_settings
from valetkey_broker.connectors.checklist import Checklist
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import BrokerError
from valetkey_broker.model import (
    CheckOutcome,
    CloudProfile,
    Connector,
    Event,
    EventFilter,
    EventKind,
    InvalidFieldError,
    LeaseFilter,
    Permission,
    Principal,
    Role,
)
from valetkey_broker.model.revocation import LeaseState, Revocation
from valetkey_broker.ports import Clock, Ledger
from valetkey_broker.state.memory import Memory

_SEE_ALL = frozenset({Role.ADMIN, Role.OPERATOR, Role.AUDITOR})
_RUN_THE_BROKER = frozenset({Role.ADMIN, Role.OPERATOR})


@dataclass(frozen=True, slots=True)
class TokenQuestion:
    """A token, by its lease, or by the hash (hex) of its signature and its end (Unix seconds); and what was tried."""

    lease_id: str = ""
    signature_sha256: str = ""
    expires: int | None = None
    url: str = ""
    operation: Permission | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that may explain a refusal; with `decides` it does alone."""

    cause: str
    message: str
    mend: str = ""
    decides: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of a token: its record, if the caller may see it, and what may explain a refusal."""

    lease: Event | None
    findings: Sequence[Finding]
    storage_known: bool


class Revoked(Protocol):
    """What is known of tokens that operators took back."""

    def of(self, lease: Event) -> tuple[LeaseState, str]:
        """Returns the state of a token, and the revocation that covers it or ended it, empty for none."""
        ...

    def covering(self, lease: Event) -> Revocation | None:
        """Returns the revocation in force because of which no further token of that kind is given."""
        ...


class Diagnoser:
    """The use case of DiagnoseToken. Nothing that a caller sends leads it anywhere: it looks only at what it knows."""

    def __init__(
        self,
        memory: Memory,
        ledger: Ledger,
        questions: CloudClient,
        profiles: Mapping[str, CloudProfile],
        clock: Clock,
        longest_token: int,
        revoked: Revoked,
    ) -> None:
        """`longest_token` is how many seconds there are at most between start and end of the broker's tokens."""
        self._memory = memory
        self._ledger = ledger
        self._questions = questions
        self._profiles = profiles
        self._clock = clock
        self._longest = longest_token
        self._revoked = revoked

    async def diagnose(self, caller: Principal, asked: TokenQuestion) -> Diagnosis:
        """Returns what is known. Raises InvalidFieldError, LEDGER_UNAVAILABLE."""
        lease = await self._lease(caller, asked)
        storage_known = any(_is_of(profile, asked.url) for profile in self._profiles.values()) if asked.url else False
        if lease is None:
            return Diagnosis(None, [_unknown(caller)], storage_known)
        findings = [*self._of_record(lease, asked), *self._of_revocations(lease), *self._of_connector(caller, lease)]
        connector = self._memory.connectors.get(lease.connector)
        if connector is not None and connector.uid == lease.connector_uid and caller.has_any(_RUN_THE_BROKER):
            findings += await self._of_account(connector, lease)
        return Diagnosis(lease, sorted(findings, key=lambda finding: not finding.decides), storage_known)

    async def _lease(self, caller: Principal, asked: TokenQuestion) -> Event | None:
        if asked.lease_id:
            wanted = EventFilter(lease_id=asked.lease_id, kind=EventKind.TOKEN_ISSUED, limit=1)
            found = await self._ledger.events(wanted)
        elif asked.signature_sha256 and asked.expires is not None:
            found = await self._ledger.leases(
                LeaseFilter(signature_sha256=asked.signature_sha256, expires=asked.expires, limit=1)
            )
        else:
            raise InvalidFieldError("lease_id", "is not given", "a lease, or the hash of a signature and its end")
        lease = found[0].event if found else None
        if lease is None or (lease.principal != caller.name and not caller.has_any(_SEE_ALL)):
            return None
        # A lease id is in the token for all to read: that the signature is its own is what makes it that token.
        if asked.signature_sha256 and lease.signature_sha256 != asked.signature_sha256:
            return None
        return lease

    def _of_record(self, lease: Event, asked: TokenQuestion) -> Sequence[Finding]:
        found = []
        if lease.expires <= self._clock():
            message = "the token ended; a token lives no longer than its lease"
            found.append(Finding("expired", message, "Ask for a new one: valetkey token issue …", decides=True))
        operation = asked.operation
        if operation is not None and operation.value not in lease.permissions:
            message = f"the token was issued without {operation.name.lower()}"
            found.append(
                Finding("permission", message, "Ask for one with that permission; a grant must allow it.", decides=True)
            )
        if asked.url and not f"{asked.url}/".startswith(f"{lease.resource.rstrip('/')}/"):
            message = f"the token is for {lease.resource}, and was used elsewhere"
            found.append(Finding("scope", message, "Use it there, or ask for one for that resource.", decides=True))
        return found

    def _of_revocations(self, lease: Event) -> Sequence[Finding]:
        """Returns who took access back, since when and why; they are whom to ask."""
        state, name = self._revoked.of(lease)
        covering, ended_by = self._revoked.covering(lease), self._memory.revocations.get(name)
        dead = state in (LeaseState.REVOKED, LeaseState.REVOKING)
        revocation = covering or (ended_by if dead else None)
        if revocation is None:
            return ()
        since, why = revocation.created_at.strftime("%Y-%m-%dT%H:%M:%SZ"), revocation.reason
        who = f"by {revocation.created_by} at {since}" + (f": {why}" if why else "")
        storage = "storage refuses it" if state is LeaseState.REVOKED else "storage refuses it, or will in a moment"
        if covering is None:
            message = f"the key that signed it was ended {who}. It was not meant; {storage}"
            return [Finding("key-revoked", message, "Ask for a new token.", decides=True)]
        if dead:
            message = f"access was revoked {who}. The key that signed the token was ended: {storage}"
        elif state is LeaseState.ENDED:
            message = f"access was revoked {who}. No further token is given"
        else:
            message = f"access was revoked {who}. No further token is given; this one lives to its end"
        return [Finding("revoked", message, f"Ask them; they know it as revocation {covering.name}.", decides=dead)]

    def _of_connector(self, caller: Principal, lease: Event) -> Sequence[Finding]:
        found = []
        runs = caller.has_any(_RUN_THE_BROKER)
        tell = "Tell those who run the broker."
        connector = self._memory.connectors.get(lease.connector)
        if connector is None or connector.uid != lease.connector_uid:
            message = "its connector was deleted since; whether its credential was taken away too, Azure decides"
            found.append(Finding("connector-gone", message, "Ask for a new token."))
        else:
            if connector.keys_not_before > lease.time:
                message = "the keys that signed it were dropped since, as after their revocation in Azure"
                found.append(Finding("key-dropped", message, "Ask for a new token.", decides=True))
            if connector.credential_version != lease.credential_version:
                message = "its connector has another credential now; a key that was regenerated signs nothing any more"
                found.append(Finding("credential-changed", message, "Ask for a new token."))
        if lease.grant and lease.grant not in self._memory.grants:
            message = f"its grant {lease.grant} is gone; the token itself lives to its end"
            found.append(Finding("grant-gone", message, "" if runs else tell))
        return found

    async def _of_account(self, connector: Connector, lease: Event) -> Sequence[Finding]:
        profile = self._profiles.get(connector.azure.cloud)
        account = _account(profile, lease.resource) if profile is not None else ""
        if not account:
            return ()
        checks = Checklist(())
        try:
            settings = (await self._questions.settings(connector, [account])).get(account)
        except BrokerError:
            return ()  # Who may not look hears nothing of it; `verify` says so.
        if settings is None:
            return ()
        check_settings(checks, account, settings, self._longest)
        return [
            Finding("account-settings", f"storage account {account}: {check.message}", check.mend)
            for check in checks.lines()
            if check.outcome in (CheckOutcome.FAILED, CheckOutcome.WARNING) or settings.only_named_networks
        ]


def _unknown(caller: Principal) -> Finding:
    if caller.has_any(_SEE_ALL):
        message = "no such token is on record here: another broker or somebody else made it, or it was altered"
    else:
        message = "no such token of yours is on record here"
    return Finding("unknown", message, "Compare lease id and time with: valetkey lease list --all")


def _is_of(profile: CloudProfile, url: str) -> bool:
    """Tells whether a URL leads to the blob service of a cloud, for whatever account."""
    return bool(_account(profile, url))


def _account(profile: CloudProfile, url: str) -> str:
    before, _, after = profile.blob_endpoint.partition("{account}")
    if not url.startswith(before) or urlsplit(url).scheme != "https":
        return ""
    rest = url[len(before) :]
    account = rest[: rest.find(after)] if after and after in rest else rest.partition("/")[0]
    good = 3 <= len(account) <= 24 and account.isascii() and account.isalnum() and account == account.lower()  # noqa: PLR2004
    return account if good and f"{rest}/".startswith(f"{account}{after}/") else ""
