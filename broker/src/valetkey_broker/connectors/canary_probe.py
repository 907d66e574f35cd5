"""Proves that tokens do what they are for and nothing else, with a canary blob and a token that stays in the broker."""

import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from valetkey_broker.concurrency.shielded_work import ShieldedWork
from valetkey_broker.connectors.checklist import Checklist, VerifyStep
from valetkey_broker.connectors.cloud_client import CloudClient
from valetkey_broker.errors import CLOUD_REFUSALS, BrokerError, Reason
from valetkey_broker.model import (
    CallInfo,
    CheckOutcome,
    CloudProfile,
    Connector,
    Container,
    Event,
    EventKind,
    Permission,
    PermissionSet,
    SasRequest,
    Scope,
    SignedToken,
    SigningKey,
    TokenUse,
    details_of,
)
from valetkey_broker.ports import Clock, Ledger

PRINCIPAL = "broker:probe"
"""To whom the ledger says that such tokens were issued; nobody can authenticate as that."""
PREFIX = ".valetkey-probe/"
"""Below it the canaries lie. Nothing else of the broker's ever does."""
STEPS = (
    VerifyStep.WRITE,
    VerifyStep.READ,
    VerifyStep.LIST,
    VerifyStep.SIBLING,
    VerifyStep.OUTSIDE,
    VerifyStep.DELETE,
)
"""What a probe takes, where nothing fails."""

_PERMISSIONS = PermissionSet([Permission.READ, Permission.WRITE, Permission.DELETE, Permission.LIST])
_SECONDS = 300
_BACKDATED_SECONDS = 60
_log = structlog.get_logger()
# Nobody else holds on to a task whose caller has hung up.
_under_way = ShieldedWork()
_USES = {VerifyStep.WRITE: TokenUse.WRITE, VerifyStep.READ: TokenUse.READ, VerifyStep.LIST: TokenUse.LIST}


@dataclass(frozen=True, slots=True)
class Probe:
    """Writes, reads, lists and deletes a blob, for the caller of `call`, who needs no grant for that."""

    call: CallInfo
    questions: CloudClient
    ledger: Ledger
    profiles: Mapping[str, CloudProfile]
    clock: Clock

    async def run(
        self, checks: Checklist, connector: Connector, container: Container, key: SigningKey, sibling: Container
    ) -> None:
        """Adds the lines. `sibling` is another container of the account, there or not.

        Raises LEDGER_UNAVAILABLE where the token cannot be recorded: then nothing was done.
        """
        token = await self._token(connector, container, key)
        # To the end also where the caller hangs up: what was written is to be removed.
        await _under_way.whole(self._tried(checks, connector, container, token, sibling))

    async def _tried(
        self, checks: Checklist, connector: Connector, container: Container, token: SignedToken, sibling: Container
    ) -> None:
        where = container.account, container.name
        blob = f"{PREFIX}{uuid.uuid4()}"
        written = True
        for step, use in _USES.items():
            try:
                with checks.step(step, *where):
                    await self.questions.use_token(connector, container, token, use, blob)
            except BrokerError as error:
                if step is VerifyStep.WRITE:
                    # What storage refused left nothing; a write without an answer may have been done.
                    written = error.reason not in CLOUD_REFUSALS
                    break
        await self._refused(checks, VerifyStep.SIBLING, connector, sibling, token, TokenUse.LIST, blob)
        await self._refused(checks, VerifyStep.OUTSIDE, connector, container, token, TokenUse.OUTSIDE, blob)
        if written:
            await self._deleted(checks, connector, container, token, blob)
        else:
            checks.not_tried(VerifyStep.DELETE, "nothing was written", *where)

    async def _deleted(
        self, checks: Checklist, connector: Connector, container: Container, token: SignedToken, blob: str
    ) -> None:
        try:
            await self.questions.use_token(connector, container, token, TokenUse.DELETE, blob)
        except BrokerError as error:
            left = f"the blob {blob} of the probe is left behind"
            remove = (
                f"Remove it: az storage blob delete --auth-mode login --account-name {container.account} "
                f"--container-name '{container.name}' --name {blob}"
            )
            mend = "\n".join(filter(None, (error.mend, remove)))
            _log.warning("the blob of a probe is left behind", blob=blob, container=container.url)
            where = container.account, container.name
            checks.found(VerifyStep.DELETE, CheckOutcome.FAILED, f"{left}: {error.message}", mend, *where)
        else:
            checks.found(VerifyStep.DELETE, CheckOutcome.OK, "", "", container.account, container.name)

    async def _refused(
        self,
        checks: Checklist,
        step: VerifyStep,
        connector: Connector,
        container: Container,
        token: SignedToken,
        use: TokenUse,
        blob: str,
    ) -> None:
        where = container.account, container.name
        try:
            await self.questions.use_token(connector, container, token, use, blob)
        except BrokerError as error:
            if error.reason in CLOUD_REFUSALS:
                checks.found(step, CheckOutcome.OK, error.metadata.get("azure_code", ""), "", *where)
                return
            if not _was_let_in(error, use):
                checks.not_tried(step, error.message, *where)
                return
        message = "storage took a token there that it must refuse"
        mend = "Issue no tokens with this connector, and tell those who make Valet Key."
        checks.found(step, CheckOutcome.FAILED, message, mend, *where)

    async def _token(self, connector: Connector, container: Container, key: SigningKey) -> SignedToken:
        now = self.clock()
        lease_id = str(uuid.uuid4())
        expires = int(min(now + _SECONDS, key.expires))
        request = SasRequest(
            profile=self.profiles[connector.azure.cloud],
            scope=Scope.of_container(container),
            permissions=_PERMISSIONS,
            starts=max(int(now) - _BACKDATED_SECONDS, math.ceil(key.starts)),
            expires=expires,
            source_ip="",
            key=key,
        )
        (signed,) = self.questions.sign(request, [lease_id])
        event = Event(
            kind=EventKind.TOKEN_ISSUED,
            time=now,
            request_id=self.call.request_id,
            method=self.call.method,
            principal=PRINCIPAL,
            peer=self.call.peer,
            connector=connector.name,
            connector_uid=connector.uid,
            credential_version=connector.credential_version,
            resource=container.url,
            permissions=_PERMISSIONS.sp,
            ttl=expires - int(now),
            expires=expires,
            lease_id=lease_id,
            signature_sha256=signed.signature_sha256,
            purpose="verify --probe-write",
            details=details_of(asked_by=self.call.principal.name),
        )
        # As with any token: nothing is done with it that is not on record.
        await self.ledger.record(event)
        return signed


def sibling_of(container: Container, others: Iterable[Container]) -> Container:
    """Returns another container of the same account; where none is known, one that nobody has."""
    for other in others:
        # Azure's own containers have rules of their own.
        if other.account == container.account and other.name != container.name and not other.name.startswith("$"):
            return other
    name = f"valetkey-probe-{uuid.uuid4().hex[:12]}"
    return replace(container, name=name, url=f"{container.url.rpartition('/')[0]}/{name}")


def _was_let_in(error: BrokerError, use: TokenUse) -> bool:
    # A listing that does not have the blob was a listing all the same.
    return use is TokenUse.LIST and error.reason is Reason.RESOURCE_NOT_FOUND and "azure_code" not in error.metadata
