"""How a broker lives and ends as processes: signals, workers that die, a supervisor that dies, a Vault that is away."""

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import subprocess
from pathlib import Path

import grpc
import grpc.aio
import pytest

from support import children
from support.broker_process import COMMAND, Serving, alive, listens, run, serving, write_config
from support.stopwatch import ends_within
from support.vault_gateway import gateway_before
from valetkey.v1 import api_key_service_pb2, api_key_service_pb2_grpc
from valetkey_broker.errors import EXIT_CONFIGURATION
from valetkey_devstack.free_ports import is_free
from valetkey_devstack.openbao import OpenBao

pytestmark = pytest.mark.xdist_group("openbao-process")
SIGNALS = [signal.SIGTERM, signal.SIGINT]


async def gone(pids: list[int], seconds: float) -> None:
    """Waits until none of the processes runs."""
    async with asyncio.timeout(seconds):
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.05)


async def answered(broker: Serving) -> bool:
    """Asks health; a connection that a dead worker had accepted may fail once."""
    for _ in range(5):
        with contextlib.suppress(grpc.aio.AioRpcError):
            return await broker.healthy()
        await asyncio.sleep(0.1)
    return False


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("workers", [1, 2])
async def test_signal_ends_it(tmp_path: Path, bao: OpenBao, workers: int, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end a broker that serves: exit 0, within the grace period, everything said and closed."""
    config = write_config(tmp_path, bao.settings(), server={"grace_seconds": 45})
    with serving(config, "--workers", str(workers), installed=number is signal.SIGTERM) as broker:
        await broker.logged("serving", workers)
        await broker.logged("listening", workers)
        assert await broker.healthy()
        asked = run("health", "--config", config)
        assert (asked.returncode, asked.stdout, asked.stderr) == (0, "SERVING\n", "")
        pids = list(broker.workers().values())
        with ends_within(40):
            broker.send(number)
            assert await broker.ended() == 0
        assert len(broker.events("stopping")) == len(broker.events("stopped")) == workers
        assert broker.said == ""
        assert not any(alive(pid) for pid in pids)
        assert is_free(broker.port)


@pytest.mark.parametrize("workers", [1, 2])
async def test_hangup_ends_nothing(tmp_path: Path, bao: OpenBao, workers: int) -> None:
    """SIGHUP, which tools send after they rotated a file, has the files looked at; the broker serves on."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", str(workers)) as broker:
        await broker.logged("serving", workers)
        before = broker.workers()
        broker.send(signal.SIGHUP)
        await asyncio.sleep(0.5)
        assert await broker.healthy()
        assert broker.workers() == before
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0
        assert not broker.events("worker died; replacing it")


async def test_ctrl_c_in_a_terminal(tmp_path: Path, bao: OpenBao) -> None:
    """A terminal sends SIGINT to supervisor and workers at once; that ends them as cleanly."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", "2") as broker:
        await broker.logged("serving", 2)
        os.killpg(broker.process.pid, signal.SIGINT)
        assert await broker.ended() == 0
        assert len(broker.events("stopped")) == 2
        assert not broker.events("worker died; replacing it")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_signal_before_vault_answers(tmp_path: Path, workers: str) -> None:
    """A broker that still waits for Vault ends as well."""
    with serving(write_config(tmp_path), "--workers", workers) as broker:
        await broker.logged("Vault is not usable yet; trying again", int(workers))
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0


async def test_both_workers_serve_and_a_dead_one_is_replaced(tmp_path: Path, bao: OpenBao) -> None:
    """Two processes listen on the one port; one that dies is replaced, which the log says; the other serves on."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        before = broker.workers()
        assert sorted(before) == [0, 1]
        assert all(listens(pid, broker.port) for pid in before.values())
        os.kill(before[0], signal.SIGKILL)
        (died,) = await broker.logged("worker died; replacing it")
        assert (died["worker"], died["exit_code"]) == (0, -signal.SIGKILL)
        assert await answered(broker)
        await broker.logged("listening", 3)
        after = broker.workers()
        assert after[1] == before[1]
        assert after[0] != before[0]
        assert all(listens(pid, broker.port) for pid in after.values())
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0


async def test_a_replaced_worker_waits_for_vault_before_it_takes_calls(tmp_path: Path, bao: OpenBao) -> None:
    """A worker lost while Vault hangs costs no caller: the other serves them all from memory until the new one can."""
    with serving(write_config(tmp_path, bao.settings(timeout_seconds=1.0)), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        bao.freeze()
        try:
            os.kill(broker.workers()[0], signal.SIGKILL)
            await broker.logged("worker started", 3)
            await broker.logged("Vault is not usable yet; trying again")
            assert not listens(broker.workers()[0], broker.port)
            assert all([await broker.healthy() for _ in range(20)])
        finally:
            bao.thaw()
        await broker.logged("listening", 3)
        assert all([await broker.healthy() for _ in range(20)])
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0


async def test_a_worker_that_cannot_be_replaced_takes_no_other_with_it(tmp_path: Path, bao: OpenBao) -> None:
    """A certificate that went bad, or no room for a process, costs the worker that died; the other serves on."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        certificate, good = tmp_path / "broker.pem", (tmp_path / "broker.pem").read_bytes()
        certificate.write_text("rubbish")
        os.kill(broker.workers()[0], signal.SIGKILL)
        (_, died) = (await broker.logged("worker died; replacing it", 2))[:2]
        assert (died["worker"], died["exit_code"]) == (0, EXIT_CONFIGURATION)
        assert await answered(broker)
        before = resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        (told, *_) = await broker.logged("a worker cannot be started; trying again")
        assert (told["worker"], told["error"]) == (0, "Too many open files")
        assert await answered(broker)
        certificate.write_bytes(good)
        resource.prlimit(broker.process.pid, resource.RLIMIT_NOFILE, before)
        await broker.logged("listening", 3)
        assert sorted(broker.workers()) == [0, 1]
        broker.send(signal.SIGTERM)
        assert await broker.ended() == 0


async def test_no_worker_is_left_that_could_go_on(tmp_path: Path, bao: OpenBao) -> None:
    """Where none serves any more and none can start, the broker ends, and whoever started it hears of it."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        (tmp_path / "broker.pem").write_text("rubbish")
        for pid in broker.workers().values():
            os.kill(pid, signal.SIGKILL)
        assert await broker.ended() == EXIT_CONFIGURATION
        assert "broker.pem: is not a certificate" in broker.said


async def test_workers_without_vault_answer_all_the_same(tmp_path: Path) -> None:
    """At a first start nobody else serves: with Vault away the workers are there to say so, and not a closed port."""
    with serving(write_config(tmp_path), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        assert not await broker.healthy()


async def test_workers_end_with_their_supervisor(tmp_path: Path, bao: OpenBao) -> None:
    """Killing the supervisor leaves no orphans: the workers see it, finish their calls, and free the port."""
    with serving(write_config(tmp_path, bao.settings()), "--workers", "2") as broker:
        await broker.logged("listening", 2)
        pids = list(broker.workers().values())
        broker.send(signal.SIGKILL)
        await gone(pids, seconds=60)
        assert len(broker.events("stopped")) == 2
        assert is_free(broker.port)


async def test_vault_that_is_away_at_the_start(tmp_path: Path, bao: OpenBao) -> None:
    """Without Vault the broker stays up, says NOT_SERVING and why; it serves as soon as Vault is there."""
    bao.kill()
    with serving(write_config(tmp_path, bao.settings())) as broker:
        lines = await broker.logged("Vault is not usable yet; trying again", 2)
        assert {line["cause"] for line in lines} == {"unreachable"}
        assert "vault.address" in lines[0]["error"]
        assert not await broker.healthy()
        assert broker.process.poll() is None
        await bao.restart()
        await broker.logged("serving")
        assert await broker.healthy()


async def test_a_gateway_that_knows_no_vault(tmp_path: Path, bao: OpenBao) -> None:
    """A 404 that is not Vault's does not empty the store: callers go on from memory, as with every other outage."""
    with gateway_before(bao, tmp_path / "gateway") as gateway:
        vault = bao.settings(address=gateway.url, ca_file=gateway.ca_file, resync_seconds=0.5)
        config = write_config(tmp_path, vault)
        made = await asyncio.to_thread(run, "bootstrap", "--config", config)
        metadata = [("authorization", f"Bearer {made.stdout.strip()}")]
        with serving(config) as broker:
            await broker.logged("serving")
            gateway.knows_vault = False
            (away,) = await broker.logged("Vault is away; serving from memory")
            assert away["cause"] == "unexpected answer"
            # Everything is read anew, which would take away what is not found.
            await broker.logged("reading everything anew failed; it is tried again")
            async with broker.channel() as channel:
                stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
                found = await stub.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(), metadata=metadata, timeout=30)
            assert [each.name for each in found.api_keys] == ["admin"]
            gateway.knows_vault = True
            await broker.logged("Vault is back")


async def test_a_log_that_nobody_reads_any_more(tmp_path: Path, bao: OpenBao) -> None:
    """Whoever collects the log may go away: calls are answered, and what runs in the background goes on."""
    config = write_config(tmp_path, bao.settings())
    metadata = [("authorization", f"Bearer {run('bootstrap', '--config', config).stdout.strip()}")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = children.start([COMMAND, "serve", "--config", str(config)], **pipes)
    assert process.stdout is not None
    assert process.stderr is not None
    log = process.stdout
    try:
        await asyncio.to_thread(lambda: next(line for line in log if b'"event": "serving"' in line))
        log.close()
        port = config.read_text().partition("port = ")[2].partition("\n")[0]
        credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
            for _ in range(3):
                found = await stub.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(), metadata=metadata, timeout=60)
                assert [each.name for each in found.api_keys] == ["admin"]
        process.terminate()
        assert await asyncio.to_thread(process.wait) == 0
        assert process.stderr.read() == b"Error: the log cannot be written: Broken pipe\n"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def test_a_log_whose_reader_is_stuck(tmp_path: Path, bao: OpenBao) -> None:
    """Whoever collects the log may take nothing more without being gone: calls are answered, and the broker can end."""
    config = write_config(tmp_path, bao.settings())
    metadata = [("authorization", f"Bearer {run('bootstrap', '--config', config).stdout.strip()}")]
    process = children.start([COMMAND, "serve", "--config", str(config)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    log = process.stdout
    try:
        await asyncio.to_thread(lambda: next(line for line in log if b'"event": "serving"' in line))
        room = fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, 4096)
        port = config.read_text().partition("port = ")[2].partition("\n")[0]
        credentials = grpc.ssl_channel_credentials((tmp_path / "ca.pem").read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
            for _ in range(room // 40):  # No line is that short.
                found = await stub.ListApiKeys(api_key_service_pb2.ListApiKeysRequest(), metadata=metadata, timeout=60)
                assert [each.name for each in found.api_keys] == ["admin"]
        process.terminate()
        assert await asyncio.to_thread(process.wait) == 0
        assert len(await asyncio.to_thread(log.read)) > room / 2  # It was full.
    finally:
        process.kill()
        process.wait()
        log.close()


async def test_vault_that_refuses_the_login(tmp_path: Path, bao: OpenBao) -> None:
    """A wrong secret id is said as that, without the id; a good one written to the file is taken up."""
    config = write_config(tmp_path, bao.settings())
    good = bao.secret_id_file.read_text()
    bao.secret_id_file.write_text("PLANTED-secret-id\n")
    try:
        with serving(config) as broker:
            line = (await broker.logged("Vault is not usable yet; trying again"))[0]
            assert line["cause"] == "login refused"
            assert "vault.secret_id_file" in line["error"]
            bao.secret_id_file.write_text(good)
            await broker.logged("serving")
            assert "PLANTED" not in broker.out.read_text() + broker.said
    finally:
        bao.secret_id_file.write_text(good)
