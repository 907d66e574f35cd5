"""Every client through the proxy for longer than three tokens, and the proxy's throughput against going without.

    make clients-table

prints, for each client at its newest release, what it did, by how many tokens of 8 s, in how many requests, and what
failed; then 10,000 requests; then 64 MiB up and down, direct and through the proxy in turns; then the same table for
clients that renew tokens by themselves, and the permissions that each of their operations needs.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp

from bench import renewing_table
from support.e2e import CONNECTOR, Live, live_stack
from support.proxied import CLIENT_SCRIPT, PERMISSIONS, Proxied, proxied, result

SECONDS = 26
ROUNDS = 7
SIZE = 64 * 1024 * 1024
REQUESTS = 10_000
CLIENTS = ("curl", "azure_storage_blob", "adlfs", "pyarrow", "deltalake", "obstore", "polars", "rclone")


def say(text: str) -> None:
    """Prints a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def table(live: Live, directory: Path) -> int:
    """Prints a row for each client; returns how many operations failed."""
    say(f"Each for {SECONDS} s with tokens of 8 s, through one `valetkey proxy` of its own.\n")
    say("| client | operations (how often each) | tokens | requests | renewed after a 403 | failed |")
    say("| --- | --- | --- | --- | --- | --- |")
    failed = 0
    for client in CLIENTS:
        with proxied(live, directory=directory) as proxy:
            found = result(proxy.client(client, SECONDS))
            proxy.end()
        done, counts = found["done"], proxy.counts
        often = ", ".join(f"{name} {count}" for name, count in done.items())
        row = (client, often, counts["tokens"], counts["requests"], counts["renewed"], len(found["failures"]))
        say(f"| {' | '.join(map(str, row))} |")
        for failure in found["failures"][:3]:
            say(f"    {failure}")
        failed += len(found["failures"])
    return failed


async def many(proxy: Proxied) -> int:
    """Reads a small blob over and over, 32 at a time; returns how often that failed."""
    url = f"{proxy.said['endpoint']}/{proxy.said['container']}/many?{proxy.said['sas_token']}"
    failed = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32)) as session:
        await (await session.put(url, data=b"x", headers={"x-ms-blob-type": "BlockBlob"})).read()
        left = iter(range(REQUESTS))

        async def reader() -> None:
            nonlocal failed
            for _ in left:
                async with session.get(url) as answer:
                    failed += answer.status != 200 or await answer.read() != b"x"

        await asyncio.gather(*(reader() for _ in range(32)))
    return failed


def seconds(live: Live, url: str, *arguments: str) -> float:
    """Returns how long one transfer took."""
    where, _, query = url.partition("?")
    done = subprocess.run(
        [
            *("curl", "--silent", "--fail", "--cacert", str(live.stack.ca_file), "--output", "/dev/null"),
            *("--write-out", "%{time_total}", *arguments, f"{where}/large?{query}"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def throughput(live: Live, directory: Path) -> None:
    """Prints seconds for 64 MiB, both ways round."""
    direct = live.admin.done(
        *("token", "issue", "--resource", "az://demo-zenmlartifactstore", "--permissions", PERMISSIONS, "-o", "url")
    ).out.strip()
    file = directory / "large"
    file.write_bytes(bytes(SIZE))
    ways = {"up": ("--upload-file", str(file), "--header", "x-ms-blob-type: BlockBlob"), "down": ()}
    say(f"\n{SIZE >> 20} MiB by curl, the median of {ROUNDS} in turns:\n")
    say("| | direct | through the proxy | throughput |\n| --- | --- | --- | --- |")
    with proxied(live, ttl="15m", directory=directory) as proxy:
        for way, arguments in ways.items():
            urls = {"direct": direct, "proxy": proxy.said["container_url"]}
            took: dict[str, list[float]] = {name: [] for name in urls}
            for _ in range(ROUNDS):
                for name, url in urls.items():
                    took[name].append(seconds(live, url, *arguments))
            one, other = (statistics.median(took[name]) for name in urls)
            say(f"| {way} | {one:.2f} s | {other:.2f} s | {one / other:.2f} of direct |")
        memory = Path(f"/proc/{proxy.process.pid}/status").read_text()
    peak = next(line.split()[1] for line in memory.splitlines() if line.startswith("VmHWM"))
    say(f"\nThe proxy's memory at its peak: {int(peak) // 1024} MiB.")


def by_the_proxy() -> int:
    """Runs what goes through the proxy, on a stack of its own; returns how much failed."""
    with tempfile.TemporaryDirectory() as name, live_stack(Path(name), connector=True) as live:
        live.allow(CONNECTOR)
        failed = table(live, Path(name))
        with proxied(live, directory=Path(name)) as proxy:
            broken = asyncio.run(many(proxy))
            proxy.end()
        say(f"\n{REQUESTS} requests, 32 at a time: {proxy.counts['tokens']} tokens, {broken} failed.")
        throughput(live, Path(name))
    return failed + broken


def main() -> int:
    """Runs all of it, or one half; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("proxy", "renewing"), help="clients by the proxy, or those that renew")
    only = parser.parse_args().only
    if not CLIENT_SCRIPT.exists():
        return 2
    failed = 0 if only == "renewing" else by_the_proxy()
    if only != "proxy":
        failed += renewing_table.table(say, SECONDS)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
