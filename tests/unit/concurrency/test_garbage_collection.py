"""Garbage collections stay short: what lives for long is left out of them, and what was garbage after all is found."""

import subprocess
import sys

# In a process of its own: what is left out of collections, is left out for all that runs in a process.
_SCRIPT = """
import gc, sys, weakref
from valetkey_broker.concurrency import garbage_collection as ours

class Thing:
    pass

now = 0.0
ours.keep_collections_short()
ours.keep_collections_short()
assert len(gc.callbacks) == 1, gc.callbacks
gc.callbacks[:] = [ours.LongLived(lambda: now).watch]

few = [[] for _ in range(1000)]
gc.collect()
assert len(gc.get_objects(2)) >= 1000  # Of few nothing is left out.

left_out = gc.get_freeze_count()
streams = [[] for _ in range(ours._MANY)]
circle = Thing()
circle.itself = circle
gc.collect()
assert gc.get_freeze_count() >= left_out + ours._MANY
assert len(gc.get_objects(2)) < 100

gone = weakref.ref(circle)
del circle
gc.collect()
assert gone() is not None  # It is not looked at.

# What nobody holds any more goes at once, left out or not.
before = gc.get_freeze_count()
streams.clear()
assert gc.get_freeze_count() <= before - ours._MANY

now = ours._WHOLE_SECONDS
gc.collect()
assert gone() is None
assert gc.get_freeze_count() >= 1000  # And what is alive is left out again.

# Much that came since makes everything due again, too.
ours._MANY_LEFT_OUT = 3 * ours._MANY
circle = Thing()
circle.itself = circle
gone = weakref.ref(circle)
kept = []
for turn in range(5):
    kept.append([[] for _ in range(ours._MANY)])
    gc.collect()
    circle = None
    assert (gone() is None) == (turn >= 3), turn
print("done")
"""


def test_what_lives_for_long_is_left_out_and_looked_at_now_and_then() -> None:
    """Protects calls from pauses of a second with ten thousand streams, and memory from what nobody looks at."""
    run = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False, timeout=120)
    assert run.stdout == "done\n", run.stderr
