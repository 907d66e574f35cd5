"""`make crash`: kills a process at random moments of random changes, again and again, and looks what is left.

Two replicas watch throughout. Vault is as quick as it is, or slowed by `--delay` seconds a request. Fails where
something was left half done, where a replica knew something else than Vault, or where news took too long.
"""

import argparse
import asyncio
import logging
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import structlog

from support.crash_process import Child, Watcher, check
from support.crashes import BY_NAME, clear, knows
from support.ledgers import open_ledger
from support.relay import Relay
from valetkey_broker.recording import MissingOutcomes
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import start_openbao


async def _run(arguments: argparse.Namespace, directory: Path) -> int:
    authority = make_ca(directory)
    certificate, key = authority.issue("relay", directory)
    bao = await start_openbao(directory / "openbao", authority)
    seconds: list[float] = []
    outcomes: Counter[str] = Counter()
    later: Child | None = None
    try:
        url = f"sqlite:///{directory}/ledger.db"
        async with open_ledger(url) as ledger, Relay(bao.address, bao.ca_file, certificate, key) as relay:
            relay.delay = arguments.delay
            slowed = bao.settings(address=relay.url, timeout_seconds=30.0)
            watchers = [Watcher(bao.settings(timeout_seconds=30.0), ledger) for _ in range(2)]
            for watcher in watchers:
                await watcher.watch()
            for number in range(arguments.kills):
                name = random.choice(sorted(BY_NAME))  # noqa: S311 (which one matters to nobody)
                # The next one gets ready meanwhile.
                child, later = later or Child(slowed, url, directory), Child(slowed, url, directory)
                outcome, took = await _kill(name, watchers, child, 0.15 + 12 * arguments.delay)
                outcomes[f"{name}: {outcome}"] += 1
                seconds.append(took)
                sys.stdout.write(f"\r{number + 1} of {arguments.kills} kills")
                sys.stdout.flush()
            # Those that died before they wrote anything are waited for, in a broker; here all of them are dead.
            for _ in range(2):
                await MissingOutcomes(ledger, time.time, watchers[0].being_changed, watched_seconds=0.0).look()
            unfinished = await watchers[0].unfinished()
            intact = (await ledger.verify()).intact
            for watcher in watchers:
                await watcher.close()
    finally:
        if later is not None:
            later.kill()
        await bao.stop()
    sys.stdout.write("\n" + "".join(f"  {outcome:32} {count}\n" for outcome, count in sorted(outcomes.items())))
    sys.stdout.write(
        f"settled and known everywhere: median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s after the "
        f"kill; Vault slowed by {arguments.delay:g} s\n"
        f"on record without an outcome: {len(unfinished)}; chains hold: {intact}\n"
        "orphans, and replicas that know something else: 0\n"
    )
    return int(bool(unfinished) or not intact or max(seconds) > arguments.patience)


async def _kill(name: str, watchers: list[Watcher], child: Child, longest: float) -> tuple[str, float]:
    """Kills `child` amid a change; returns what became of it, and after how many seconds all was settled and known."""
    change = BY_NAME[name]
    try:
        await clear(watchers[0].replica)
        await change.prepare(watchers[0].replica)
        await child.ready()
        child.begin(change)
        await asyncio.sleep(random.uniform(0.0, longest))  # noqa: S311 (as above)
    finally:
        child.kill()
    started = time.monotonic()
    settled = sum(len(watcher.replica.settled) for watcher in watchers)
    await check(watchers, change)
    took = time.monotonic() - started
    new = sum(len(watcher.replica.settled) for watcher in watchers) - settled
    there = knows(watchers[0].replica, change.path) is not change.removes
    return ("settled, " if new else "") + ("made" if there else "not made"), took


def main() -> None:
    """Runs it; `--help` lists the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds by which each request to Vault is slowed")
    parser.add_argument("--patience", type=float, default=15.0, help="seconds after which news count as lost")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="valetkey-crash-") as name:
        sys.exit(asyncio.run(_run(arguments, Path(name))))


if __name__ == "__main__":
    main()
