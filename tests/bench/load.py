"""Runs the load and reads what it measured: h2load, or bench.client where a client certificate is shown."""

import json
import math
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.scene import METHOD, REQUEST

_FINISHED = re.compile(r"finished in .*?, ([0-9.]+) req/s")
_REQUESTS = re.compile(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded")
_DATA = re.compile(r"traffic: .*\((\d+)\) data")
_PREFIX_BYTES = 5  # https://grpc.github.io/grpc/core/md_doc__p_r_o_t_o_c_o_l-_h_t_t_p2.html: flag and length


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of h2load.

    Latencies are in milliseconds, `answer_bytes` is the mean size of an answer's message, `cpu_micros` the servers'
    processor time for one call; whoever has the servers fills it in. `busy` is the share of its core that the load
    took.
    """

    requests: int
    per_second: float
    p50: float
    p99: float
    answer_bytes: float
    cpu_micros: float = math.nan
    busy: float = math.nan


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: so many calls, so many at a time, over so many connections, from the cores `cpus`.

    `method` is called with `message`. Times are of calls, whatever they hold.
    """

    requests: int
    connections: int
    calls: int = 64
    cpus: str = "1"
    method: str = METHOD
    message: bytes = field(default=REQUEST.SerializeToString(), repr=False)


class BenchError(Exception):
    """The bench could not measure; the text says why and what to do."""


def require_tools() -> None:
    """Raises BenchError where a program or a second core is missing."""
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two cores are needed: one for the server, one for the load")
    for program, package in (("h2load", "nghttp2-client"), ("taskset", "util-linux")):
        if shutil.which(program) is None:
            raise BenchError(f"{program} is missing; it is in the Debian package {package}: apt-get install {package}")


def h2load(directory: Path, port: int, bearer: str, plan: Plan) -> Measured:
    """Makes calls of IssueToken with `bearer` as evidence.

    Raises BenchError where h2load fails or one request has no 200. A gRPC error comes with 200 too and without a
    message; so the caller looks at `answer_bytes` and at what the broker recorded.
    """
    headers = ("content-type: application/grpc", "te: trailers", f"authorization: Bearer {bearer}")
    return requests(directory, f"https://127.0.0.1:{port}{plan.method}", headers, plan, ("-d", _body(directory, plan)))


def requests(directory: Path, url: str, headers: Sequence[str], plan: Plan, options: Sequence[object] = ()) -> Measured:
    """Makes requests of `url` with `headers`. Raises BenchError where h2load fails or one request has no 200."""
    log = directory / "h2load.tsv"
    log.unlink(missing_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    out = _run(
        # What it shows is made up for the bench; real evidence does not belong into arguments.
        [
            *("taskset", "-c", plan.cpus, "h2load", "-t", "1"),
            *("-n", plan.requests, "-c", plan.connections, "-m", max(1, plan.calls // plan.connections)),
            *("-w", 24, "-W", 24, *options, f"--log-file={log}"),
            *(part for header in headers for part in ("-H", header)),
            url,
        ]
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return replace(parse(out, log.read_text(encoding="ascii")), busy=cpu / seconds)


def with_certificate(directory: Path, port: int, files: Sequence[Path], plan: Plan) -> Measured:
    """Makes the same calls with a client certificate and no header; `files` are the CA's, the certificate, its key."""
    ca, certificate, key = files
    out = _run(
        [
            *("taskset", "-c", plan.cpus, sys.executable, "-m", "bench.client"),
            *("--ca", ca, "--certificate", certificate, "--key", key, "--message", _body(directory, plan)),
            *("--port", port, "--path", plan.method, "--requests", plan.requests),
            *("--connections", plan.connections, "--calls", plan.calls),
        ]
    )
    return Measured(**json.loads(out))


def _body(directory: Path, plan: Plan) -> Path:
    message = plan.message
    body = directory / "request.bin"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    return body


def _run(command: Sequence[object]) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise BenchError(f"the load ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout


def parse(report: str, log: str) -> Measured:
    """Returns what a report and a log of h2load say. Raises BenchError where a request failed or a number is missing.

    The log has one line a request: start, HTTP status, microseconds until the end of the answer.
    """
    finished, requests, data = _FINISHED.search(report), _REQUESTS.search(report), _DATA.search(report)
    if finished is None or requests is None or data is None:
        raise BenchError(f"h2load's report is not understood; expected that of nghttp2 1.4x or 1.5x:\n{report}")
    total, succeeded = int(requests[1]), int(requests[2])
    lines = [line.split("\t")[:3] for line in log.splitlines()]
    bad = {status for _, status, _ in lines if status != "200"}
    if total != succeeded or bad or len(lines) != total:
        raise BenchError(f"of {total} requests {succeeded} succeeded, {len(lines)} are logged, other statuses: {bad}")
    percentiles = statistics.quantiles((int(micros) / 1000 for _, _, micros in lines), n=100)
    return Measured(
        requests=total,
        per_second=float(finished[1]),
        p50=percentiles[49],
        p99=percentiles[98],
        answer_bytes=int(data[1]) / total - _PREFIX_BYTES,
    )
