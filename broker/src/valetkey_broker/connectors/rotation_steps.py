"""The state machine of a rotation. Each step may be cut off anywhere, and is done again by whoever resumes it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from valetkey_broker.concurrency.backoff import Backoff
from valetkey_broker.connectors.rotation_run import CredentialSource, Recorded, Run, switch_begun
from valetkey_broker.errors import BrokerError, Reason, candidate_lost, credential_replaced_meanwhile, invalid_field
from valetkey_broker.model import CredentialValue, InvalidFieldError, Rotation, RotationState, cut
from valetkey_broker.ports import AuthMethod
from valetkey_broker.state.rotation_store import RotationStore

# What Entra takes a while to know everywhere looks like this until it does: secrets and certificates (up to some
# minutes), role assignments (up to ten), https://learn.microsoft.com/azure/role-based-access-control/troubleshooting
_PASSING = frozenset(
    {
        Reason.CLOUD_CREDENTIAL_REJECTED,
        Reason.CLOUD_PERMISSION_MISSING,
        Reason.CLOUD_THROTTLED,
        Reason.CLOUD_UNAVAILABLE,
        Reason.RESOURCE_NOT_FOUND,
        Reason.CONFLICT,
    }
)
# An expired secret, a tenant that does not exist, an application that was disabled: time mends none of them.
_FINAL_CODES = frozenset({"AADSTS7000222", "AADSTS90002", "AADSTS7000112"})
# Not the rotation's fault, and nothing that proving longer would change: it is gone on with once they are back.
_OUR_OWN = frozenset({Reason.VAULT_UNAVAILABLE, Reason.LEDGER_UNAVAILABLE})
_GONE = frozenset({Reason.CONNECTOR_NOT_FOUND, Reason.SECRET_NOT_FOUND})
_LONGEST_PAUSE_SECONDS = 10.0


class Target(Protocol):
    """What gets another credential: a connector, or a named secret."""

    async def switched(self, rotation: Rotation) -> int:
        """Returns the credential version that this rotation brought into use, 0 where it did not yet.

        Raises CONFLICT where somebody else's is in use by now, or CONNECTOR_NOT_FOUND, SECRET_NOT_FOUND.
        """
        ...

    async def prove(self, rotation: Rotation, value: CredentialValue) -> Any:
        """Tries the new credential; returns what `switch` takes. Raises what `verify` raises."""
        ...

    async def switch(self, rotation: Rotation, proved: Any) -> int:
        """Puts the proved credential in the old one's place, by check-and-set. Returns its version."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """Takes a rotation from where it stands to its end, or to where it has to wait. `targets` are by folder.

    `refresh` brings memory up to what Vault holds.
    """

    refresh: Callable[[], Awaitable[None]]
    store: RotationStore
    sources: Mapping[str, CredentialSource]
    targets: Mapping[str, Target]
    auth_methods: Mapping[str, AuthMethod]
    recorded: Recorded
    first_pause_seconds: float = 1.0

    async def run(self, run: Run) -> None:
        """Goes on until the rotation is over or waits. Raises LostRotation, or BrokerError: to be tried again later."""
        # The rotation was read from Vault just now. Who takes it over may be a poll behind with all else, and would
        # take for the credential in use, and for the one before it, what they were before the switch.
        await self.refresh()
        proved: Any = None
        while not run.rotation.state.ended:
            try:
                match run.rotation.state:
                    case RotationState.OBTAINING:
                        await self._obtain(run)
                    case RotationState.PROVING:
                        proved = await self._prove(run)
                    case RotationState.SWITCHING:
                        await self._switch(run, proved)
                        proved = None
                    case RotationState.WAITING:
                        if run.clock() < run.rotation.wait_until:
                            return
                        await run.enter(RotationState.WITHDRAWING)
                    case RotationState.WITHDRAWING:
                        await self.sources[run.rotation.source].withdraw(run)
                        await self._end(run, RotationState.DONE)
                    case _:
                        await self._take_back(run)
            except BrokerError as error:
                await self._failed(run, error)

    async def _obtain(self, run: Run) -> None:
        if await self.store.candidate(run.rotation) is not None:  # It was stored, and nothing more.
            await run.enter(RotationState.PROVING, tries=0, spent_seconds=0.0, reason="", message="")
            return
        source = self.sources[run.rotation.source]
        value = await self._patiently(run, lambda: source.obtain(run))
        if not run.rotation.candidate:
            await run.write(candidate=await self.store.next_candidate(run.rotation))
        encoded = self.auth_methods[run.rotation.way.auth_method].encode(value)
        await self.store.keep_candidate(run.rotation, encoded)
        await run.enter(RotationState.PROVING, tries=0, spent_seconds=0.0, reason="", message="")

    async def _prove(self, run: Run) -> Any:
        target = self._target(run)
        if await target.switched(run.rotation):
            await run.enter(RotationState.SWITCHING)
            return None
        value = await self._candidate(run)
        proved = await self._patiently(run, lambda: target.prove(run.rotation, value))
        await run.enter(RotationState.SWITCHING, reason="", message="")
        return proved

    async def _switch(self, run: Run, proved: Any) -> None:
        target = self._target(run)
        if proved is None:  # Resumed, perhaps amid the switch.
            await self.store.decided(run.rotation)
        try:
            version = await target.switched(run.rotation)
            if not version and proved is None:
                await run.write(state=RotationState.PROVING)  # Resumed: what was proved, and when, nobody knows.
                return
            if not version:
                begun = switch_begun(run.rotation, run.rotation.object, run.clock())
                version = await self.recorded(begun, lambda: target.switch(run.rotation, proved))
        except BrokerError as error:
            if error.reason in _OUR_OWN:
                raise
            if error.reason is Reason.CONFLICT:
                await run.write()  # Who lost it to another process stops here, and records nothing more.
            if error.reason is Reason.CONFLICT and await self._still_ours(run):
                await run.write(state=RotationState.PROVING)  # Something else of it changed while it was proved.
                return
            await self._undo(run, error)
            return
        source = self.sources[run.rotation.source]
        if not source.withdraws:
            await self._end(run, RotationState.DONE, to_version=version)
            return
        until = await source.wait_until(run)
        state = RotationState.WAITING if until > run.clock() else RotationState.WITHDRAWING
        await run.enter(state, to_version=version, wait_until=until)

    async def _take_back(self, run: Run) -> None:
        """Undoes what was done, but for what came into use after all.

        A switch that Vault did not answer may have been made later than this rotation looked: whoever settled it put
        the new credential in place, and what is in use is not removed at its provider.
        """
        await self.store.decided(run.rotation)
        if await self._in_use(run):
            await run.enter(RotationState.SWITCHING, reason="", message="")
            return
        await self.sources[run.rotation.source].undo(run)
        await self._end(run, run.rotation.ends_as)

    async def _in_use(self, run: Run) -> bool:
        try:
            return bool(await self._target(run).switched(run.rotation))
        except BrokerError as error:
            if error.reason in _OUR_OWN:
                raise
            return False  # Another credential is, or what should have got this one is gone.

    async def _still_ours(self, run: Run) -> bool:
        try:
            return not await self._target(run).switched(run.rotation)
        except BrokerError as error:
            if error.reason in _OUR_OWN:
                raise
            return False

    async def _failed(self, run: Run, error: BrokerError) -> None:
        """Takes back what can be taken back. Raises `error` where the step is to be tried again."""
        if error.reason in _OUR_OWN:
            raise error
        if run.rotation.state.can_be_aborted:
            await self._undo(run, error)
        elif await self._is_gone(run):
            await self._leave(run, error)
        else:
            raise error

    async def _is_gone(self, run: Run) -> bool:
        """Tells whether what gets the credential was deleted: with it went what its provider is asked by."""
        try:
            await self._target(run).switched(run.rotation)
        except BrokerError as error:
            return error.reason in _GONE
        return False

    async def _leave(self, run: Run, error: BrokerError) -> None:
        """Ends a rotation of what is gone, though something is left to do at its provider."""
        rotation = run.rotation
        state = rotation.ends_as if rotation.state is RotationState.UNDOING else RotationState.FAILED
        told = f"{rotation.message or error.message}; what its provider made for it, or was to remove, is left there"
        await self._end(run, state, reason=rotation.reason or error.reason.name, message=cut(told))

    async def _end(self, run: Run, state: RotationState, **changes: Any) -> None:
        await self.store.destroy_candidate(run.rotation)
        await run.enter(state, holder="", **changes)

    async def _undo(self, run: Run, error: BrokerError) -> None:
        await run.enter(RotationState.UNDOING, error=error, ends_as=RotationState.FAILED)

    async def _candidate(self, run: Run) -> CredentialValue:
        encoded = await self.store.candidate(run.rotation)
        if encoded is None:
            raise candidate_lost(run.rotation.object)
        try:
            return self.auth_methods[run.rotation.way.auth_method].decode(encoded)
        except (KeyError, TypeError, ValueError):
            raise candidate_lost(run.rotation.object) from None

    async def _patiently(self, run: Run, attempt: Any) -> Any:
        """Makes an attempt again and again within the rotation's time, the last error shown meanwhile."""
        pauses = Backoff(self.first_pause_seconds, _LONGEST_PAUSE_SECONDS)
        while True:
            started = time.monotonic()
            try:
                return await attempt()
            except InvalidFieldError as error:
                raise invalid_field(error) from None
            except BrokerError as error:
                code = error.metadata.get("azure_code", "")
                if error.reason not in _PASSING or code in _FINAL_CODES:
                    raise
                rotation, pause = run.rotation, max(pauses.next(), error.retry_after or 0.0)
                spent = rotation.spent_seconds + time.monotonic() - started
                if error.reason is Reason.CONFLICT and not await self._still_ours(run):
                    raise credential_replaced_meanwhile(rotation.object) from None
                if spent + pause > rotation.prove_seconds:
                    raise
                await run.write(
                    tries=rotation.tries + 1,
                    spent_seconds=spent + pause,
                    reason=error.reason.name,
                    message=cut(error.message),
                )
                await asyncio.sleep(pause)

    def _target(self, run: Run) -> Target:
        return self.targets[run.rotation.object.partition("/")[0]]
