"""IssueToken against a bare gRPC echo: each kind of caller, each ledger."""

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence

from bench.evidence import KEY
from bench.load import Plan
from bench.processes import to_core
from bench.results import Result, at_least
from bench.rows import Row, by_certificate, by_header, open_hall, print_rows, take_turns
from support.postgres import running_postgres

_TARGETS = {"API key, SQLite": 0.70, "JWT, SQLite": 0.65, "API key, PostgreSQL": 0.65, "mTLS, SQLite": 0.65}


async def every_caller(arguments: argparse.Namespace) -> Sequence[Result]:
    """Alternates the echo and the broker, one core for the servers, the other for the load."""
    return await _against_echo(arguments, all_of_them=True)


async def api_key_only(arguments: argparse.Namespace) -> Sequence[Result]:
    """Compares the holder of an API key with the ledger on SQLite, and nobody else."""
    return await _against_echo(arguments, all_of_them=False)


async def _against_echo(arguments: argparse.Namespace, *, all_of_them: bool) -> Sequence[Result]:
    async with contextlib.AsyncExitStack() as stack:
        hall = await stack.enter_async_context(open_hall())
        broker = await hall.start("broker", "broker", cpus="0")
        answer = broker.probe()
        sample = hall.directory / "answer.bin"
        sample.write_bytes(answer.SerializeToString())
        size = len(sample.read_bytes())
        echo = await hall.start("echo", "echo", cpus="0", options=("--answer", sample))
        bare = Row("bare echo", [echo], by_header(hall, echo, KEY))
        rows = [bare, Row("API key, SQLite", [broker], by_header(hall, broker, KEY), bare)]
        if all_of_them:
            postgres = await stack.enter_async_context(running_postgres())
            to_core(postgres.pid, 1)
            other = await hall.start("postgres", "broker", cpus="0", ledger=postgres.url())
            own = Row("bare echo *", [echo], by_certificate(hall, echo))
            rows += [
                Row("JWT, SQLite", [broker], by_header(hall, broker, hall.evidence.jwt), bare),
                Row("API key, PostgreSQL", [other], by_header(hall, other, KEY), bare),
                own,
                Row("mTLS, SQLite", [broker], by_certificate(hall, broker), own),
            ]
        plan = Plan(arguments.requests, arguments.connections)
        take_turns(rows, plan, size, arguments.rounds)
    print_rows(rows)
    sys.stdout.write(
        f"{plan.calls} calls at a time over {plan.connections} TLS connections, {plan.requests} a round, "
        f"{arguments.rounds} rounds; answers of {size} bytes.\n"
        "Every token is decided by a grant and durable in the ledger before it is answered; all were counted there.\n"
        "limits.issue_per_second and issue_burst are raised: one caller makes all the calls.\n"
        f"Server on core 0, load (and PostgreSQL) on core 1; load average {os.getloadavg()[0]:.1f}.\n"
    )
    if all_of_them:
        sys.stdout.write("mTLS and its echo (*) are under bench.client, as h2load shows no client certificate.\n")
    sys.stdout.write("\n")
    return [
        Result(f"IssueToken, {row.name}: of the echo's calls per CPU-second", row.cpu_ratios(), at_least(target))
        for row in rows
        if (target := _TARGETS.get(row.name)) is not None
    ]
