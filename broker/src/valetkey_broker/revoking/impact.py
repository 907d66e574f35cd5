"""What a revocation hits, as far as the ledger knows: the tokens that live, and the keys that signed them."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from valetkey_broker.model import CloudProfile, Connector, Event, LeaseFilter
from valetkey_broker.model.revocation import Revocation, RevocationTarget, SignerKind, TokenUseFacts
from valetkey_broker.ports import AuthMethod, Clock, Ledger
from valetkey_broker.revoking.account_key_holders import AccountKeys, KeyHolder
from valetkey_broker.state.memory import Memory

_PAGE = 1000
_MOST = 20_000
_MOST_PRINCIPALS = 10
# No settings let a token live for longer.
_LONGEST_LIFE_SECONDS = 7 * 24 * 3600
# So much apart the clocks of two replicas may be.
_CLOCKS_APART_SECONDS = 300
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """The living tokens that keys of one account signed. Times are Unix seconds, 0 for none.

    `connectors` are those of the tokens that are covered, `containers` one container for each, by name; `cloud` is
    empty where no connector of them is left. `obstacle` says why they cannot be ended, and what to do instead; where
    it stands in the way of some of them only, `stuck` is how many. `others` are the least there can be where there are
    `more` of the account's tokens than were looked through.
    A key of the account itself ends by giving another to its `holders`, by way of the connector `by`.
    """

    account: str
    kind: SignerKind
    cloud: str = ""
    connectors: Sequence[str] = ()
    containers: Mapping[str, str] = field(default_factory=dict)
    covered: int = 0
    covered_until: int = 0
    others: int = 0
    other_principals: Sequence[str] = ()
    others_until: int = 0
    more: bool = False
    obstacle: str = ""
    stuck: int = 0
    holders: Sequence[KeyHolder] = ()
    by: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """What a target covers now. `incomplete` where more tokens live than were counted; of the others there is one for
    each credential and account, so that `signers` are all.
    """

    signers: Sequence[Signer]
    covered: int
    covered_until: int
    incomplete: bool


class Impact:
    """Looks through the ledger. Every method raises LEDGER_UNAVAILABLE.

    Tokens live here until they end, or until an earlier revocation was proved to have ended them: those are `dead`.
    `refused` are all whose keys are over, for whatever revocation.
    """

    def __init__(
        self,
        ledger: Ledger,
        memory: Memory,
        auth_methods: Mapping[str, AuthMethod],
        profiles: Mapping[str, CloudProfile],
        account_keys: AccountKeys,
        dead: Callable[[Event], bool],
        refused: Callable[[Event], bool],
        clock: Clock,
        *,
        stale_seconds: float,
    ) -> None:
        """`stale_seconds` is how long a replica goes on by what it knew when it last heard of Vault."""
        self._stale_seconds = stale_seconds
        self._dead = dead
        self._refused = refused
        self._account_keys = account_keys
        self._ledger = ledger
        self._memory = memory
        self._auth_methods = auth_methods
        self._profiles = profiles
        self._clock = clock

    async def of(self, target: RevocationTarget, through: str = "", *, every_signer: bool = True) -> Hit:
        """Returns what a target covers, and who else was given tokens of the same keys. Raises VAULT_UNAVAILABLE, too.

        `through` is the connector by which Azure is to be asked, empty for those of the tokens. Where very many tokens
        live, `every_signer` has those gone through as well that are too far back to be counted, which may take long.
        """
        covered, incomplete = await self._living(target, target.covers)
        if incomplete and every_signer:
            covered += await self._further(target, covered)
        places = self._places(covered)
        signers = [
            await self._signer(kind, account, [e for e in covered if self._is_of(e, kind, account)], target, through)
            for kind, account in sorted(places, key=lambda place: (place[1], place[0].value))
        ]
        return Hit(signers, len(covered), max((each.expires for each in covered), default=0), incomplete)

    async def others(self, account: str, kind: SignerKind, target: RevocationTarget) -> tuple[Sequence[Event], bool]:
        """Returns the living tokens that keys of an account signed and a target does not cover.

        Tells, too, whether there may be more, since more of the account's live than are looked through.
        """
        found, incomplete = await self._living(RevocationTarget(), lambda token: not target.covers(token), account)
        return [each for each in found if self._is_of(each, kind, account)], incomplete

    async def alive(self, target: RevocationTarget) -> tuple[Sequence[Event], bool]:
        """Returns the living tokens that a target covers, and whether there may be more, as `others` does."""
        return await self._living(target, target.covers)

    async def last_end(self, revocation: Revocation) -> int:
        """Returns when the last living token ends that a revocation covers (Unix seconds), 0 where none lives.

        However many live: the ledger knows no paths as a target means them, and a token may be behind any number of
        others. It is one of before the revocation, or of a replica that went on until it had heard of that.
        """
        issued_before = revocation.created_at.timestamp() + self._stale_seconds + _CLOCKS_APART_SECONDS
        ends, now = 0, self._clock()
        if issued_before + _LONGEST_LIFE_SECONDS <= now:
            return 0
        async for event in self._leases(revocation.target, active_at=now, issued_before=issued_before):
            if event.expires > ends and revocation.target.covers(token_facts(event)) and not self._refused(event):
                ends = event.expires
        return ends

    async def ever(self, target: RevocationTarget) -> bool:
        """Tells whether the ledger has any token that a target covers, be it a living one or not.

        As if it had where there are more on record than are looked through: nobody can tell.
        """
        count = 0
        async for event in self._leases(target, active_at=None):
            count += 1
            if count >= _MOST or target.covers(token_facts(event)):
                return True
        return False

    async def _signer(
        self, kind: SignerKind, account: str, covered: Sequence[Event], target: RevocationTarget, through: str
    ) -> Signer:
        others, more = await self.others(account, kind, target)
        reach = None
        if kind is SignerKind.ACCOUNT_KEY:
            reach = await self._account_keys.reach(covered, through)
            users = {name for holder in reach.holders for name in holder.users}
            others = [each for each in others if each.connector in users]
        principals = sorted({each.principal for each in others})
        containers: dict[str, str] = {}
        for event in covered:
            containers.setdefault(event.connector, token_facts(event).container)
        known = [connector for name in containers if (connector := self._memory.connectors.get(name)) is not None]
        signer = Signer(
            account=account,
            kind=kind,
            cloud=known[0].azure.cloud if known else "",
            connectors=sorted(containers),
            containers=containers,
            covered=len(covered),
            covered_until=max(each.expires for each in covered),
            others=len(others),
            other_principals=principals[:_MOST_PRINCIPALS],
            others_until=max((each.expires for each in others), default=0),
            more=more,
        )
        if reach is not None:
            return replace(signer, obstacle=reach.obstacle, stuck=reach.stuck, holders=reach.holders, by=reach.by)
        return replace(signer, obstacle=self._obstacle(signer, through))

    def _obstacle(self, signer: Signer, through: str) -> str:
        names = ", ".join(signer.connectors)
        connectors = [known for name in signer.connectors if (known := self._memory.connectors.get(name)) is not None]
        asked = self._memory.connectors.get(through) if through else None
        if signer.kind is SignerKind.UNKNOWN and asked is None:
            return (
                f"their connector ({names}) is gone, and with it who could ask Azure: name another connector of the "
                "same subscription with --through"
            )
        if asked is not None and signer.cloud not in ("", asked.azure.cloud):
            return f"the connector {asked.name} is in another cloud than the keys"
        by = asked or next(iter(connectors), None)
        profile = self._profiles.get(by.azure.cloud) if by is not None else None
        if profile is None or not profile.arm_endpoint:
            return "the cloud of its connector has no arm_endpoint in the broker's settings: Azure cannot be asked"
        if by is not None and not self._fetches_keys(by):
            return f"the connector {by.name} has an account's key alone, which Azure Resource Manager does not know"
        return ""

    def _kind(self, event: Event) -> SignerKind:
        connector = self._memory.connectors.get(event.connector)
        if connector is None or connector.uid != event.connector_uid:
            return SignerKind.UNKNOWN
        return SignerKind.USER_DELEGATION_KEY if self._fetches_keys(connector) else SignerKind.ACCOUNT_KEY

    def _places(self, covered: Sequence[Event]) -> Collection[tuple[SignerKind, str]]:
        places = {(self._kind(each), token_facts(each).account) for each in covered}
        known = {account for kind, account in places if kind is SignerKind.USER_DELEGATION_KEY}
        return {place for place in places if place[0] is not SignerKind.UNKNOWN or place[1] not in known}

    def _is_of(self, event: Event, kind: SignerKind, account: str) -> bool:
        # Of a connector that is gone nobody knows: it counts with user delegation keys, which revoking ends, too.
        kinds: Collection[SignerKind] = (kind,)
        if kind is not SignerKind.ACCOUNT_KEY:
            kinds = (SignerKind.USER_DELEGATION_KEY, SignerKind.UNKNOWN)
        return token_facts(event).account == account and self._kind(event) in kinds

    def _fetches_keys(self, connector: Connector) -> bool:
        return self._auth_methods[connector.auth_method].fetches_keys

    async def _living(
        self, target: RevocationTarget, wanted: Callable[[TokenUseFacts], bool], account: str = ""
    ) -> tuple[list[Event], bool]:
        found: list[Event] = []
        count = 0
        async for event in self._leases(target, account, active_at=self._clock()):
            count += 1
            if wanted(token_facts(event)) and not self._dead(event):
                found.append(event)
            if count >= _MOST:
                return found, True
        return found, False

    async def _further(self, target: RevocationTarget, covered: Sequence[Event]) -> Sequence[Event]:
        """Returns one of the living tokens of each credential and account that `covered` has none of.

        What signed a token that is too far back to be counted must be ended all the same. The ledger knows no paths as
        a target means them: where there is one, all tokens in its container are gone through.
        """
        whole = target.resource is None or not target.resource.prefix
        found = {_signed_by(each): each for each in covered}
        known = len(found)
        async for event in self._leases(target, active_at=self._clock(), one_of_each=whole):
            signed_by = _signed_by(event)
            if signed_by not in found and target.covers(token_facts(event)) and not self._dead(event):
                found[signed_by] = event
        return list(found.values())[known:]

    async def _leases(
        self,
        target: RevocationTarget,
        account: str = "",
        *,
        active_at: float | None,
        issued_before: float | None = None,
        one_of_each: bool = False,
    ) -> AsyncIterator[Event]:
        resource = target.resource
        before: int | None = None
        while True:
            page = await self._ledger.leases(
                LeaseFilter(
                    before_id=before,
                    active_at=active_at,
                    issued_before=issued_before,
                    one_of_each=one_of_each,
                    principal=target.principal,
                    connector=target.connector,
                    grant=target.grant if active_at is not None else "",
                    container=resource.container if resource is not None else "",
                    account=account or (resource.account if resource is not None else "") or "",
                    limit=_PAGE,
                )
            )
            for stored in page:
                yield stored.event
            if len(page) < _PAGE:
                return
            before = page[-1].id


def _signed_by(event: Event) -> tuple[str, str, int, str]:
    return event.connector, event.connector_uid, event.credential_version, token_facts(event).account


def token_facts(event: Event) -> TokenUseFacts:
    """Returns whose an issued token is, by what, and for what."""
    try:
        parts = urlsplit(event.resource)
    except ValueError:  # Somebody else wrote it there.
        return TokenUseFacts(event.principal, event.grant, event.connector, "", "", "")
    host, path = parts.hostname or "", parts.path.strip("/").split("/")
    account = host.partition(".")[0]
    if host in _LOOPBACK:
        # Emulators put the account into the path: https://127.0.0.1:10000/ACCOUNT/CONTAINER
        account, path = path[0], path[1:]
    container = path[0] if path else ""
    return TokenUseFacts(event.principal, event.grant, event.connector, account, container, "/".join(path[1:]))
