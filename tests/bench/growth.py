"""`make growth`: what start, news, tokens and memory cost with 10, 1,000 and 10,000 documents in Vault.

A real OpenBao holds grants and API keys, half of each. One process is the broker, with everything but Azure's network.
This one asks it for tokens, first idle, then while it reads everything anew; and has keys revoked by another replica
while that goes on.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from bench.evidence import KEY
from bench.scene import ACCOUNT, CONNECTOR, CONTAINER, REQUEST, LocalKeyCloud, Place, new_grant, server_settings
from support.core import Replica, make_api_key, make_connector, make_grant
from support.inproc import api_key_document, bearer, make_key
from support.openbao import store_on
from valetkey.v1.token_service_pb2_grpc import TokenServiceStub
from valetkey_broker.adapters.azure.auth_methods.service_principal import ClientSecret
from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_broker.app import open_core
from valetkey_broker.model import Secret, api_key_digest
from valetkey_broker.observability.logging import configure_logging
from valetkey_broker.serving import running_server
from valetkey_broker.settings import VaultSettings
from valetkey_broker.state.codec import encode_api_key, encode_grant
from valetkey_broker.state.startup_snapshot import _LEAST_DOCUMENTS, INDEX
from valetkey_devstack.ca import make_ca
from valetkey_devstack.free_ports import free_port
from valetkey_devstack.openbao import start_openbao

_WRITES_AT_ONCE = 4
_IDLE_CALLS = 500
_FLEETING = make_key("F")


async def _fill(store: VaultStateStore, first: int, count: int) -> None:
    connector = make_connector()
    slots = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def write(number: int) -> None:
        async with slots:
            name = f"document-{number}"
            if number % 2:
                grant = make_grant(name, connector, principals=[f"key:{name}"], containers=[f"container-{number}"])
                await store.write(f"grants/{name}", encode_grant(grant), expected=0)
            else:
                key = replace(make_api_key(name), digest=number.to_bytes(32, "big"))
                await store.write(f"api-keys/{name}", encode_api_key(key), expected=0)

    await asyncio.gather(*(write(number) for number in range(first, count)))


class _Server:
    """The broker's process, which says what it did in lines of JSON."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "bench.growth", "--serve", json.dumps(arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    async def said(self, name: str) -> Any:
        """Waits for a line with this field and returns it."""
        assert self._process.stdout is not None
        while line := await asyncio.to_thread(self._process.stdout.readline):
            if line.startswith("{") and name in (fields := json.loads(line)):
                return fields[name]
        raise RuntimeError("the broker ended")

    def read_anew(self) -> None:
        """Has it read everything anew, as it does every vault.resync_seconds."""
        self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait()


async def _p99(stub: TokenServiceStub, until: "asyncio.Task[Any] | None") -> float:
    """Returns the 99th percentile, in milliseconds, of calls one after the other, a few until `until` is done."""
    took: list[float] = []
    while len(took) < _IDLE_CALLS if until is None else not until.done():
        started = time.perf_counter()
        await stub.IssueToken(REQUEST, metadata=bearer(KEY))
        took.append((time.perf_counter() - started) * 1000)
    return statistics.quantiles(took, n=100)[98]


async def _until_revoked(stub: TokenServiceStub) -> float:
    """Returns the seconds until the key that was revoked just now is no longer honoured."""
    started = time.monotonic()
    while True:
        try:
            await stub.IssueToken(REQUEST, metadata=bearer(_FLEETING))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                return time.monotonic() - started
        await asyncio.sleep(0.02)


async def _measure(count: int, directory: Path, vault: VaultSettings, store: VaultStateStore) -> dict[str, float]:
    authority = make_ca(directory)
    certificate, key = authority.issue("broker", directory)
    copies = await store.newest(INDEX)
    port = free_port()
    arguments = {
        "vault": vault.model_dump(mode="json", exclude_none=True),
        "place": [str(directory), port, str(certificate), str(key)],
    }
    row = {"documents": float(count)}
    first = _Server(arguments)
    try:  # Reads every document, and leaves the copy for the next start.
        row["first serving s"] = await first.said("serving")
        while count >= _LEAST_DOCUMENTS and await store.newest(INDEX) == copies:  # noqa: ASYNC110 (a bench)
            await asyncio.sleep(0.1)
    finally:
        first.stop()
    server = _Server(arguments)
    credentials = grpc.ssl_channel_credentials(authority.ca_file.read_bytes())
    writer = Replica(store)  # type: ignore[arg-type]
    try:
        row["serving s"] = await server.said("serving")
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            stub = TokenServiceStub(channel)
            row["idle p99 ms"] = await _p99(stub, None)
            digest = api_key_digest(_FLEETING)
            assert digest is not None
            await writer.repository.create_api_key(replace(make_api_key("fleeting"), digest=digest))
            server.read_anew()
            reading = asyncio.create_task(server.said("reread"))
            row["p99 ms while reading anew"] = await _p99(stub, reading)
            row["reading anew s"] = reading.result()
            server.read_anew()
            await writer.repository.revoke_api_key("fleeting", "key:bench")
            row["news s while reading anew"] = await _until_revoked(stub)
            row["memory MiB"] = await server.said("rss")
    finally:
        server.stop()
        await writer.repository.close()
    return row


async def _main(counts: list[int], directory: Path) -> None:
    bao = await start_openbao(directory / "openbao", make_ca(directory))
    try:
        async with store_on(bao) as store:
            await store.open()
            await store.write("api-keys/bench", api_key_document(KEY), expected=0)
            filled = 0
            for count in counts:
                await _fill(store, filled, count)
                filled = count
                place = directory / str(count)
                place.mkdir()
                row = await _measure(count, place, bao.settings(), store)
                sys.stdout.write("  ".join(f"{name}: {value:.4g}" for name, value in row.items()) + "\n")
                sys.stdout.flush()
    finally:
        await bao.stop()


async def _serve(arguments: dict[str, Any]) -> None:
    directory, port, certificate, key = arguments["place"]
    vault = VaultSettings(**arguments["vault"])
    settings = server_settings(Place(Path(directory), port, Path(certificate), Path(key)))
    settings = settings.model_copy(update={"vault": vault})
    cloud = LocalKeyCloud(settings.profiles()[settings.default_cloud])
    stop, again = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, again.set)
    async with open_core(settings, cloud=cloud) as core:
        started = time.monotonic()
        async with running_server(settings, core):
            while not core.repository.loaded:  # noqa: ASYNC110 (only this bench wants to know)
                await asyncio.sleep(0.01)
            took = time.monotonic() - started
            if CONNECTOR not in core.memory.connectors:
                connector = make_connector(
                    CONNECTOR,
                    CONTAINER,
                    account=ACCOUNT,
                    cloud=settings.default_cloud,
                    storage_account=ACCOUNT,
                    version=0,
                )
                await core.repository.create_connector(connector, ClientSecret(Secret("unused")))
                await core.grants.create(new_grant(), created_by="bench")
            _say(serving=took)
            while not stop.is_set():
                ended = asyncio.create_task(stop.wait())
                asked = asyncio.create_task(again.wait())
                await asyncio.wait([ended, asked], return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                asked.cancel()
                if again.is_set():
                    again.clear()
                    started = time.monotonic()
                    await core.repository.load(gently=True)
                    _say(reread=time.monotonic() - started)
                    _say(rss=_resident())


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _say(**fields: float) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Runs it; `--help` lists the options."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        configure_logging("json", "error", sys.stderr)  # Standard output is for what the other process wants to know.
        asyncio.run(_serve(json.loads(arguments.serve)))
        return
    with tempfile.TemporaryDirectory(prefix="valetkey-growth-") as name:
        asyncio.run(_main(arguments.counts, Path(name)))


if __name__ == "__main__":
    main()
