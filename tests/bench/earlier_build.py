"""The broker against an earlier build of it, in turn, on one machine: a token alone, and a thousand in one call."""

import argparse
import io
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.evidence import KEY
from bench.load import BenchError, Measured, Plan
from bench.results import Result, at_least, at_most
from bench.rows import Row, by_header, open_hall, print_rows
from bench.scene import REQUEST
from valetkey.v1 import common_pb2, token_service_pb2

_EARLIER = "768d8d5"
_MANY = 1000
_METHOD = "/valetkey.v1.TokenService/IssueTokens"
_ALIKE = token_service_pb2.IssueTokensRequest(requests=[REQUEST] * _MANY)
_DIFFERENT = token_service_pb2.IssueTokensRequest(
    requests=[
        token_service_pb2.IssueTokenRequest(
            resource_id=f"{REQUEST.resource_id}/runs/{number:05}/model.bin",
            permissions=(common_pb2.PERMISSION_READ,),
            ttl=REQUEST.ttl,
        )
        for number in range(_MANY)
    ]
)


async def against_earlier(arguments: argparse.Namespace) -> Sequence[Result]:
    """Alternates rounds of IssueToken in both builds and of IssueTokens in this one, an API key and SQLite each."""
    async with open_hall() as hall:
        before = await hall.start("earlier", "broker", cpus="0", build=unpack(hall.directory / "build"))
        now = await hall.start("now", "broker", cpus="0")
        earlier = Row(f"IssueToken, {_EARLIER}", [before], by_header(hall, before, KEY))
        single = Row("IssueToken", [now], by_header(hall, now, KEY), earlier)
        load = by_header(hall, now, KEY)

        def asking(many: token_service_pb2.IssueTokensRequest) -> Row:
            def ask(plan: Plan) -> Measured:
                calls = max(4, plan.requests // 250)
                own = Plan(calls, 2, calls=2, method=_METHOD, message=many.SerializeToString())
                return load(own)

            name = "alike" if many is _ALIKE else "different"
            return Row(f"IssueTokens, {name}", [now], ask, earlier, tokens=_MANY)

        alike, different = asking(_ALIKE), asking(_DIFFERENT)
        rows = (earlier, single, alike, different)
        plan = Plan(arguments.requests, arguments.connections)
        for row in rows:
            row.load(replace(plan, requests=1500))
        sizes = {id(row): round(row.load(plan).answer_bytes / row.tokens) for row in (alike, different)}
        sizes |= {id(row): len(row.servers[0].probe().SerializeToString()) for row in (earlier, single)}
        for _ in range(arguments.rounds):
            for row in rows:
                row.measure(plan, sizes[id(row)])
    print_rows(rows)
    sys.stdout.write(f"A call of IssueTokens asks for {_MANY} tokens; CPU is per token.\n\n")
    return [
        Result(
            f"IssueTokens, {_MANY} alike: tokens per CPU-second against IssueToken of {_EARLIER}",
            alike.cpu_ratios(),
            at_least(8),
        ),
        Result(f"the same, {_MANY} different blobs", different.cpu_ratios()),
        Result(
            f"IssueToken: CPU per call against {_EARLIER}", [1 / ratio for ratio in single.cpu_ratios()], at_most(0.68)
        ),
    ]


def unpack(directory: Path) -> Path:
    """Returns a directory with the sources of the earlier build. Raises BenchError where Git does not have them."""
    root = Path(__file__).parents[2]
    packed = subprocess.run(
        ["git", "-C", str(root), "archive", _EARLIER, "broker", "clients", "tests", "proto"],
        capture_output=True,
        check=False,
    )
    if packed.returncode != 0:
        raise BenchError(f"the build {_EARLIER} is not in this repository: {packed.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as sources:
        sources.extractall(directory, filter="data")
    return directory
