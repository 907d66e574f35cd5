"""What consumers see of a rotation while its broker is killed, and while Vault is sealed."""

import asyncio
import time
from collections.abc import Sequence
from functools import partial

import typer

from valetkey.errors import ValetKeyError
from valetkey.rotation_values import Rotation
from valetkey_devstack.broker_process import start_broker
from valetkey_devstack.consumer_load import RotationLoad, Seen, client_of, new_secret, writing_load_on
from valetkey_devstack.demo_data import DEMO_CONNECTOR, SecretFiles
from valetkey_devstack.free_ports import free_port
from valetkey_devstack.stack import DevStack

_FOLLOWED_SECONDS = 120.0
# Long enough that it is still being proved when the fault comes.
_LATE_SECONDS = 12.0
_SEALED_SECONDS = 10.0
_ROUNDS = 30
_BLOB = "rotation/fault"


async def through_faults(stack: DevStack, files: SecretFiles) -> bool:
    """Kills the broker that rotates, with another one beside it; then seals Vault amid a rotation.

    Prints a line for each, and tells whether no consumer noticed, and both rotations were made.
    """
    port = free_port()
    beside = await start_broker(stack, port=port)
    try:
        killed = await _killed(stack, files, port)
        sealed = await _sealed(stack, files, port)
    finally:
        await beside.stop(grace=15)
    return killed and sealed


async def _killed(stack: DevStack, files: SecretFiles, port: int) -> bool:
    """The broker that began the rotation is killed; the consumers are those of the other one."""
    doomed_port = free_port()
    doomed = await start_broker(stack, port=doomed_port)
    try:
        load = writing_load_on(stack, files, _BLOB, port=port)
        await asyncio.to_thread(load.__enter__)
        try:
            await asyncio.to_thread(load.rounds, _ROUNDS)
            await _begun(stack, files, doomed_port)
            await asyncio.sleep(2)
            doomed.kill()
            return await _ended(stack, files, port, load, "with its broker killed")
        finally:
            await asyncio.to_thread(load.__exit__)
    finally:
        await doomed.stop()


async def _sealed(stack: DevStack, files: SecretFiles, port: int) -> bool:
    """Vault is sealed by its API while the new secret is proved, and unsealed some seconds later."""
    load = writing_load_on(stack, files, _BLOB, port=port)
    await asyncio.to_thread(load.__enter__)
    try:
        await asyncio.to_thread(load.rounds, _ROUNDS)
        await _begun(stack, files, port)
        await asyncio.sleep(2)
        await stack.openbao.seal()
        await asyncio.sleep(_SEALED_SECONDS)
        await stack.openbao.unseal()
        return await _ended(stack, files, port, load, f"with Vault sealed for {_SEALED_SECONDS:g} s")
    finally:
        await asyncio.to_thread(load.__exit__)


async def _begun(stack: DevStack, files: SecretFiles, port: int) -> None:
    secret = new_secret(stack, stack.directory / "keys" / f"secret-{port}", works_after=_LATE_SECONDS).read_text()

    def begin() -> None:
        with client_of(stack, files.admin_key, port=port) as admin:
            admin.rotate_credential(DEMO_CONNECTOR, secrets={"client_secret": secret})

    await asyncio.to_thread(begin)


async def _ended(stack: DevStack, files: SecretFiles, port: int, load: RotationLoad, what: str) -> bool:
    began = time.monotonic()
    rotation = await asyncio.to_thread(partial(followed, stack, files, port=port))
    took = time.monotonic() - began
    await asyncio.to_thread(load.rounds, _ROUNDS)
    seen = load.seen
    report(f"  {what:39} {rotation.state} {took:4.1f} s later · {told(seen)}", seen.failures)
    return rotation.state == "done" and not seen.failures


def followed(stack: DevStack, files: SecretFiles, secret: str = "", *, port: int = 0) -> Rotation:
    """Returns the rotation of the demo's connector, or of a named secret, once it ended, or where it still is."""
    name, holder = (secret, "secret") if secret else (DEMO_CONNECTOR, "connector")
    end = time.monotonic() + _FOLLOWED_SECONDS
    with client_of(stack, files.admin_key, port=port) as admin:
        while True:
            try:
                rotation = admin.get_rotation(name, holder=holder)
            except ValetKeyError:
                if time.monotonic() > end:
                    raise
            else:
                if rotation.ended or time.monotonic() > end:
                    return rotation
            time.sleep(0.2)


def told(seen: Seen) -> str:
    """Returns what consumers saw, in words."""
    return (
        f"{seen.rounds} tokens, writes and reads, {len(seen.failures)} failed · "
        f"longest gap {seen.longest_gap * 1000:.0f} ms"
    )


def report(line: str, failures: Sequence[str]) -> None:
    """Prints a line, and the first failures below it."""
    typer.echo(line)
    for failure in failures[:3]:
        typer.echo(f"    {failure}")
