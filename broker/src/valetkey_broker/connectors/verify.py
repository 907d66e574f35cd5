"""Proves that a connector works: logs in, looks at what it serves, uses a token signed with a fresh key."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.connectors.account_checks import BACKDATED_SECONDS, check_clock, check_settings
from valetkey_broker.connectors.checklist import Checklist, VerifyStep
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.credential_warnings import credential_warnings
from valetkey_broker.connectors.probe import STEPS, Probe, sibling_of
from valetkey_broker.connectors.reach_result import PASSING, AccountError, Reach, own_container
from valetkey_broker.errors import BrokerError, Reason, token_refused
from valetkey_broker.model import Check, Connector, Container, ResourceId, SigningKey
from valetkey_broker.ports import Clock

T = TypeVar("T")

_KEY_SECONDS = 3600.0
LONGEST_TOKEN = 12 * 3600 + BACKDATED_SECONDS
"""Seconds from start to end of a token at most, if the settings say nothing: 12 hours, and 15 minutes in the past."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a connector gives tokens for, and the lines of what was checked.

    With `keys_revoked`, storage takes only keys that begin now or later.
    """

    reach: Reach
    keys_revoked: bool = False
    checks: Sequence[Check] = ()


async def verify(
    questions: CloudClient,
    clock: Clock,
    connector: Connector,
    *,
    longest_token: int = LONGEST_TOKEN,
    probe: Probe | None = None,
) -> Proof:
    """Returns the containers that the connector can give tokens for, with the errors of single accounts.

    A connector whose account is known asks only that one, and one that serves a single container there lists nothing:
    rights on that container are enough. `longest_token` is how many seconds there are at most between a token's start
    and its end; with `probe`, tokens are used too. Raises BrokerError of the first step that failed, where nothing is
    left; it has the `checks` too.
    """
    own = connector.resource
    account = (own.account if own is not None else None) or connector.azure.storage_account
    alone = own is not None and bool(account)
    looking = [VerifyStep.CONTAINER] if alone else [VerifyStep.ACCOUNTS, VerifyStep.CONTAINERS]
    using = [VerifyStep.KEY, VerifyStep.TOKEN, VerifyStep.CLOCK, VerifyStep.SETTINGS]
    checks = Checklist([VerifyStep.LOG_IN, *looking, *using, *(STEPS if probe else ())])
    try:
        proof = await _verified(questions, clock, connector, account, checks, probe)
    except BrokerError as error:
        # What is set in the account, or the broker's clock, may be the cause.
        if error.reason not in PASSING and not checks.failed_at(VerifyStep.LOG_IN):
            await _circumstances(questions, connector, {account} if account else set(), checks, longest_token)
        error.checks = checks.lines()
        raise
    accounts = {container.account for container in proof.reach.containers} | ({account} if account else set())
    await _circumstances(questions, connector, accounts, checks, longest_token)
    return replace(proof, checks=checks.lines())


async def _circumstances(
    questions: CloudClient, connector: Connector, accounts: Collection[str], checks: Checklist, longest_token: int
) -> None:
    check_clock(checks, questions.clock_skew(connector))
    if not accounts:
        return
    try:
        settings = await questions.settings(connector, accounts)
    except BrokerError as error:
        # Nobody needs it; who may look hears more.
        unable = error.reason is Reason.INVALID_FIELD
        why = "this connector cannot ask Azure Resource Manager, which has them" if unable else error.message
        checks.not_tried(VerifyStep.SETTINGS, why)
        return
    for account in sorted(accounts):
        if account in settings:
            check_settings(checks, account, settings[account], longest_token)
        else:
            checks.not_tried(VerifyStep.SETTINGS, "Azure Resource Manager does not show it", account)


async def _verified(
    questions: CloudClient,
    clock: Clock,
    connector: Connector,
    account: str,
    checks: Checklist,
    probe: Probe | None,
) -> Proof:
    now = clock()
    with checks.step(VerifyStep.LOG_IN) as line:
        await questions.log_in(connector)
        if ending := credential_warnings(connector.expires_at, now):
            line.warning, line.message = True, ending[0]
    reach = await _looked(questions, connector, account, checks)
    one_of = {container.account: container for container in reach.containers}
    accounts = sorted(one_of)
    if not accounts and account:
        accounts = [account]  # An empty account is still worth a key.

    async def key(account: str, starts: float) -> SigningKey:
        return await questions.signing_key(connector, account, starts=starts, expires=now + _KEY_SECONDS)

    keys: dict[str, SigningKey] = {}

    async def revoked(account: str) -> bool:
        """Proves the account with a fresh key; tells whether only one works that begins after a revocation."""
        with checks.step(VerifyStep.KEY, account):
            fresh = await key(account, max(now - BACKDATED_SECONDS, connector.keys_not_before))
        one = one_of.get(account)
        if one is None:
            checks.not_tried(VerifyStep.TOKEN, "the account has no container", account)
            return False
        with checks.step(VerifyStep.TOKEN, account, one.name) as line:
            keys[account] = fresh
            if await questions.accepts(connector, one, fresh):
                return False
            keys[account] = await key(account, now)
            if not await questions.accepts(connector, one, keys[account]):
                raise token_refused(connector.name, account)
            line.message = "the account's keys were revoked a short while ago: tokens are signed with new ones"
            return True

    keys_revoked, without_key = await _each(accounts, revoked)
    refused = {each.account for each in without_key}
    proved = [container for container in reach.containers if container.account not in refused]
    proof = Proof(Reach(proved, [*reach.errors, *without_key]).require_any(), any(keys_revoked))
    if probe is not None:
        await _probe(probe, checks, connector, proof.reach.containers, keys)
    return proof


async def _looked(questions: CloudClient, connector: Connector, account: str, checks: Checklist) -> Reach:
    own = connector.resource
    if own is not None and account:
        with checks.step(VerifyStep.CONTAINER, account, own.container):
            reach = Reach([await _checked(questions, connector, account, own)])
    else:
        reach = await _listed(questions, connector, checks)
        if own is not None:
            with checks.step(VerifyStep.CONTAINER, "", own.container) as line:
                reach = Reach([own_container(connector, reach, name_others=True)])
                line.message = f"it is in storage account {reach.containers[0].account}"
    return reach


async def _probe(
    probe: Probe,
    checks: Checklist,
    connector: Connector,
    containers: Sequence[Container],
    keys: Mapping[str, SigningKey],
) -> None:
    async def probed(one: Container) -> None:
        await probe.run(checks, connector, one, keys[one.account], sibling_of(one, containers))

    for _, outcome in await outcomes(_probed(containers), probed):
        if isinstance(outcome, BrokerError):
            raise outcome


def _probed(containers: Sequence[Container]) -> Sequence[Container]:
    """Returns one container of each account: the first that is not Azure's own."""
    first: dict[str, Container] = {}
    for container in containers:
        if not container.name.startswith("$"):
            first.setdefault(container.account, container)
    return list(first.values())


def pinned(connector: Connector, container: Container) -> Connector:
    """Returns a single-instance connector with the account of its container written down."""
    return replace(connector, resource=ResourceId(container.name, account=container.account))


async def _checked(questions: CloudClient, connector: Connector, account: str, own: ResourceId) -> Container:
    try:
        return await questions.container(connector, account, own.container)
    except BrokerError as error:
        if error.reason is not Reason.RESOURCE_NOT_FOUND:
            raise
        try:
            others = await questions.containers(connector, account)
        except BrokerError:
            raise error from None
        return own_container(connector, Reach(others), name_others=True)  # Says what there is instead.


async def _listed(questions: CloudClient, connector: Connector, checks: Checklist) -> Reach:
    with checks.step(VerifyStep.ACCOUNTS) as line:
        search = await questions.accounts(connector)
        line.message = f"{len(search.accounts)} found"
        if connector.azure.storage_account:
            line.message = "the connector names it"
        elif search.errors:
            line.warning, line.mend = True, search.errors[0].mend
            line.message += f"; not everywhere could be looked: {search.errors[0].message}"

    async def listed(account: str) -> Sequence[Container]:
        with checks.step(VerifyStep.CONTAINERS, account) as line:
            containers = await questions.containers(connector, account)
            line.message = f"{len(containers)} found"
            return containers

    found, errors = await _each(search.accounts, listed)
    elsewhere = [AccountError("", error) for error in search.errors]
    return Reach([container for containers in found for container in containers], [*elsewhere, *errors]).require_any()


async def _each(
    accounts: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> tuple[Sequence[T], Sequence[AccountError]]:
    """Returns the answers of the accounts, up to 8 asked at a time, and the errors of those that gave none."""
    answers = await outcomes(accounts, ask)
    errors = [AccountError(account, answer) for account, answer in answers if isinstance(answer, BrokerError)]
    return [answer for _, answer in answers if not isinstance(answer, BrokerError)], errors
