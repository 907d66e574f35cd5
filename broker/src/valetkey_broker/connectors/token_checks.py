"""Proves that tokens of a connector are taken: by a fresh key for each account, and a token for one container of it."""

from collections.abc import Collection
from dataclasses import dataclass, field

from valetkey_broker.connectors.account_checks import BACKDATED_SECONDS
from valetkey_broker.connectors.checklist import Checklist, VerifyStep
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.connectors.reach_result import AccountError
from valetkey_broker.errors import BrokerError, token_refused
from valetkey_broker.model import Connector, Container, SigningKey

_KEY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class TokenChecks:
    """Tries the accounts of a connector at `now` (Unix seconds), and writes what came of it into the checklist.

    `keys` holds the key that signs for each account, `unproved` what no tokens are taken for, by account and type.
    """

    questions: CloudClient
    connector: Connector
    checks: Checklist
    now: float
    keys: dict[str, SigningKey] = field(default_factory=dict)
    unproved: dict[tuple[str, str], BrokerError] = field(default_factory=dict)

    async def of_account(self, account: str, containers: Collection[Container]) -> bool:
        """Proves an account by one container of each resource type.

        Returns whether storage takes only keys that begin now or later, as after a revocation. Raises BrokerError where
        there is no key.
        """
        with self.checks.step(VerifyStep.KEY, account):
            starts = max(self.now - BACKDATED_SECONDS, self.connector.keys_not_before)
            self.keys[account] = await self._key(account, starts)
        if not containers:
            self.checks.not_tried(VerifyStep.TOKEN, "the account has no container", account)
        revoked = False
        for one in {container.resource_type: container for container in containers}.values():
            try:
                revoked = await self._takes_only_new(one) or revoked
            except BrokerError as error:
                self.unproved[account, one.resource_type] = error
        return revoked

    def holds_for(self, container: Container) -> bool:
        """Tells whether tokens for a container of an account that has a key may be taken."""
        return (container.account, container.resource_type) not in self.unproved

    def errors(self) -> list[AccountError]:
        """Returns why no tokens are taken, account by account."""
        return [AccountError(account, error) for (account, _), error in self.unproved.items()]

    async def _takes_only_new(self, one: Container) -> bool:
        account = one.account
        with self.checks.step(VerifyStep.TOKEN, account, one.name) as line:
            if await self.questions.accepts(self.connector, one, self.keys[account]):
                return False
            self.keys[account] = await self._key(account, self.now)
            if not await self.questions.accepts(self.connector, one, self.keys[account]):
                raise token_refused(self.connector.name, account)
            line.message = "the account's keys were revoked a short while ago: tokens are signed with new ones"
            return True

    async def _key(self, account: str, starts: float) -> SigningKey:
        expires = self.now + _KEY_SECONDS
        return await self.questions.signing_key(self.connector, account, starts=starts, expires=expires)
