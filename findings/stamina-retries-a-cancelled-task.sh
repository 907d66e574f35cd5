#!/usr/bin/env bash
# `stamina.retry(on=…)` takes a function that is asked of each exception whether to try again. It is asked of
# asyncio.CancelledError, too. "Anything but what is final", the natural way to write it, then swallows the cancellation
# and tries again: task.cancel(), asyncio.timeout() and asyncio.wait_for() do not end the call, and a service that stops
# by cancelling waits for every attempt. With `on=Exception` they do.
# Known of tenacity, on which stamina stands, for its own negated condition (jd/tenacity#529, open); stamina's
# documentation speaks of exceptions, and its types say Exception.
# Guessed before: the function is asked of Exceptions only.
# Versions: stamina 26.1.0, tenacity 9.2.1 (PyPI). Needs: python3 ≥ 3.11 with venv.
# Seen: with on=Exception CancelledError and TimeoutError; with the function "done", three times, by a second attempt each.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet stamina==26.1.0 tenacity==9.2.1 2> pip.log || { cat pip.log; exit 1; }
cat > try.py <<'PY'
import asyncio
import logging

import stamina

logging.disable()


class Denied(Exception):
    """What another try does not mend."""


def worth_another_try(error):
    return not isinstance(error, Denied)


async def ended(call):
    try:
        return await call
    except BaseException as error:
        return type(error).__name__


async def timeout(call):
    async with asyncio.timeout(0.2):
        return await call


async def main():
    for on in (Exception, worth_another_try):
        attempts = 0

        @stamina.retry(on=on, attempts=2, wait_initial=0.01, wait_max=0.01, wait_jitter=0)
        async def work():
            nonlocal attempts
            attempts += 1
            # The first attempt would take for ever; the second one finds its answer at once.
            await asyncio.sleep(3600 if attempts % 2 else 0)
            return "done"

        task = asyncio.create_task(work())
        await asyncio.sleep(0.2)
        task.cancel()
        seen = [await ended(task)]
        for limited in (timeout(work()), asyncio.wait_for(work(), 0.2)):
            attempts += attempts % 2  # begin with a first attempt
            seen.append(await ended(limited))
        print("Exception:" if on is Exception else "function:", *seen)


asyncio.run(main())
PY
out=$(venv/bin/python try.py)
echo "$out"
[ "$out" = "Exception: CancelledError TimeoutError TimeoutError
function: done done done" ]
