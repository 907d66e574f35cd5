"""IssueToken against a read of OpenBao's KV store over TLS: what one would do instead, the secret kept there."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from dataclasses import replace

from bench.evidence import KEY
from bench.load import Plan, requests
from bench.processes import cpu_seconds, to_core
from bench.results import Result, at_least
from bench.rows import by_header, open_hall
from support.openbao import running_openbao
from valetkey_devstack.openbao import MOUNT

_NAME = "bench"
_SECRET = {"client_secret": "PLANTED~client-secret.value", "client_id": "22222222-2222-4222-8222-222222222222"}
_POLICY = f'path "{MOUNT}/data/{_NAME}" {{ capabilities = ["read"] }}'


async def against_openbao(arguments: argparse.Namespace) -> Sequence[Result]:
    """Alternates rounds of both, on the same core, under the same load."""
    async with contextlib.AsyncExitStack() as stack:
        hall = await stack.enter_async_context(open_hall())
        own = hall.directory / "bao"
        own.mkdir()
        bao = await stack.enter_async_context(running_openbao(own))
        admin = bao.admin()
        admin.secrets.kv.v2.create_or_update_secret(_NAME, _SECRET, cas=0, mount_point=MOUNT)
        admin.sys.create_or_update_policy(_NAME, _POLICY)
        token = admin.auth.token.create(policies=[_NAME])["auth"]["client_token"]
        admin.adapter.close()
        pid = bao._running().pid
        to_core(pid, 0)
        broker = await hall.start("broker", "broker", cpus="0")
        broker.probe()
        ask = by_header(hall, broker, KEY)
        plan = Plan(arguments.requests, arguments.connections)
        url = f"{bao.address}/v1/{MOUNT}/data/{_NAME}"

        def read(plan: Plan) -> float:
            before = cpu_seconds(pid)
            done = requests(hall.directory, url, (f"x-vault-token: {token}",), plan)
            return (cpu_seconds(pid) - before) / done.requests * 1e6

        def issue(plan: Plan) -> float:
            before, recorded = broker.cpu_seconds(), broker.issued()
            done = ask(plan)
            cpu = broker.cpu_seconds() - before
            return cpu / min(done.requests, broker.issued() - recorded) * 1e6

        for each in (read, issue):
            each(replace(plan, requests=1500))
        pairs = [(read(plan), issue(plan)) for _ in range(arguments.rounds)]
    ratios = Result(
        "IssueToken against OpenBao's KV v2 read over TLS: calls per CPU-second",
        [theirs / ours for theirs, ours in pairs],
        at_least(2.0),
    )
    theirs, ours = (sorted(values)[len(values) // 2] for values in zip(*pairs, strict=True))
    sys.stdout.write(f"CPU of a read of OpenBao's: {theirs:.0f} µs; of IssueToken: {ours:.0f} µs (medians).\n\n")
    return [ratios]
