"""Heads of the ledger in a file that is kept outside it."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from valetkey.errors import InvalidArgumentError
from valetkey.ledger_values import LedgerHead

_HASH_DIGITS = 64


def read_anchors(path: Path) -> tuple[LedgerHead, ...]:
    """Returns the heads in a file that `write_anchors` or `audit verify -o json` wrote.

    Raises InvalidArgumentError where it cannot be read or holds no heads: an empty file would prove nothing.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        heads = tuple(_head(entry) for entry in found["heads"])
    except OSError as error:
        raise InvalidArgumentError(f"--anchor-file: {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError):
        heads = ()
    if not heads:
        raise InvalidArgumentError(f"--anchor-file: {path} holds no heads; expected a file that --save-heads wrote")
    return heads


def write_anchors(path: Path, heads: Iterable[LedgerHead]) -> None:
    """Writes heads into a file, replacing it in one step: a crash leaves the old one or the new one.

    Raises InvalidArgumentError where it cannot be written.
    """
    rows = [{"writer": head.writer, "sequence": head.sequence, "hash": head.hash} for head in heads]
    try:
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        # A new file alone: in a folder of many users another one may have put a link there, to a file of this user's.
        with fresh.open("x", encoding="utf-8") as file:
            json.dump({"heads": rows}, file, indent=2)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise InvalidArgumentError(f"--save-heads: {path} cannot be written: {reason}") from None


def same_file(one: Path, other: Path) -> bool:
    """Tells whether two paths lead to the same existing file."""
    try:
        return one.samefile(other)
    except OSError:
        return False


def _head(entry: Any) -> LedgerHead:
    writer, sequence, digest = entry["writer"], entry["sequence"], entry["hash"]
    if not isinstance(writer, str) or not isinstance(sequence, int) or len(bytes.fromhex(digest)) * 2 != _HASH_DIGITS:
        raise ValueError(entry)
    return LedgerHead(writer, sequence, digest)
