"""Keeps garbage collections short for a process that serves for long."""

import gc


def freeze_startup_objects() -> None:
    """Leaves what was made until now, mostly modules, out of later garbage collections.

    Going through all of it halts every call for some 75 ms, again and again under load; see docs/performance.md.
    """
    gc.collect()
    gc.freeze()
