"""Proves that a connector works: logs in, looks at what it serves, uses a token signed with a fresh key."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from valetkey_broker.concurrency.gather_outcomes import outcomes
from valetkey_broker.connectors.account_checks import BACKDATED_SECONDS, check_clock, check_settings
from valetkey_broker.connectors.canary_probe import STEPS, Probe, sibling_of
from valetkey_broker.connectors.checklist import Checklist, VerifyStep
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.credential_warnings import credential_warnings
from valetkey_broker.connectors.reach_result import PASSING, AccountError, Reach, own_container
from valetkey_broker.connectors.token_checks import TokenChecks
from valetkey_broker.errors import BrokerError, Reason
from valetkey_broker.model import Check, Connector, Container, ResourceId, SigningKey
from valetkey_broker.ports import Clock

T = TypeVar("T")

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
    by_account: dict[str, list[Container]] = {}
    for container in reach.containers:
        by_account.setdefault(container.account, []).append(container)
    # An empty account is still worth a key.
    accounts = sorted(by_account) or [account] * bool(account)
    tokens = TokenChecks(questions, connector, checks, now)
    keys_revoked, without_key = await _each(accounts, lambda each: tokens.of_account(each, by_account.get(each, ())))
    refused = {each.account for each in without_key}
    proved = [each for each in reach.containers if each.account not in refused and tokens.holds_for(each)]
    proof = Proof(Reach(proved, [*reach.errors, *without_key, *tokens.errors()]).require_any(), any(keys_revoked))
    if probe is not None:
        await _probe(probe, checks, connector, proof.reach.containers, tokens.keys)
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
    """Returns one container of each account and type: the first that is not Azure's own."""
    first: dict[tuple[str, str], Container] = {}
    for container in containers:
        if not container.name.startswith("$"):
            first.setdefault((container.account, container.resource_type), container)
    return list(first.values())


def pinned(connector: Connector, container: Container) -> Connector:
    """Returns a single-instance connector with the account of its container written down."""
    return replace(connector, resource=replace(container.inside(), account=container.account, directory=False))


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

    by_type = connector.by_type()

    async def listed(account: str) -> Sequence[Container]:
        found: list[Container] = []
        failures: list[BrokerError] = []
        for each in by_type:
            try:
                with checks.step(VerifyStep.CONTAINERS, account) as line:
                    some = await questions.containers(each, account)
                    line.message = f"{len(some)} found{f': {each.resource_type}' if len(by_type) > 1 else ''}"
                found += some
            except BrokerError as error:
                failures.append(error)
        if failures and not found:
            raise failures[0]
        unlisted.extend(AccountError(account, error) for error in failures)
        return found

    unlisted: list[AccountError] = []
    found, errors = await _each(search.accounts, listed)
    errors = [*errors, *unlisted]
    elsewhere = [AccountError("", error) for error in search.errors]
    return Reach([container for containers in found for container in containers], [*elsewhere, *errors]).require_any()


async def _each(
    accounts: Sequence[str], ask: Callable[[str], Awaitable[T]]
) -> tuple[Sequence[T], Sequence[AccountError]]:
    """Returns the answers of the accounts, up to 8 asked at a time, and the errors of those that gave none."""
    answers = await outcomes(accounts, ask)
    errors = [AccountError(account, answer) for account, answer in answers if isinstance(answer, BrokerError)]
    return [answer for _, answer in answers if not isinstance(answer, BrokerError)], errors
