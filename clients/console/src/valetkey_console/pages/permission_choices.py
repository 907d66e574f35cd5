"""What each permission is for, and the ready-made roles, as people choose them in forms (docs/grants.md)."""

from collections.abc import Iterable

PERMISSIONS = (
    ("read", "r", "loads content, and tells its size"),
    ("list", "l", "lists what is there; artifacts that are directories cannot be loaded without it"),
    ("write", "w", "uploads and overwrites; clients upload in blocks, which takes it"),
    ("create", "c", "writes what is not there yet, in one piece; adds nothing to write"),
    ("add", "a", "appends to append blobs; adds nothing to write"),
    ("delete", "d", "takes away, and renames: what a failed step wrote stays without it"),
    ("move", "m", "moves blobs and directories, on accounts with hierarchical namespace"),
    ("execute", "e", "reads system properties and access lists, on accounts with hierarchical namespace"),
)
PERMISSION_CHOICES = tuple((word, f"{word} ({letter}): {what}") for word, letter, what in PERMISSIONS)
ROLE_CHOICES = (
    ("", "none: the permissions below"),
    ("deployer", "deployer: read, list"),
    ("step-operator", "step-operator: read, list, write, create, add"),
    ("step-operator-with-delete", "step-operator-with-delete: read, list, write, create, add, delete"),
    ("orchestrator", "orchestrator: read, list, write, create, add"),
    ("orchestrator-with-delete", "orchestrator-with-delete: read, list, write, create, add, delete"),
)


def words_of(given: Iterable[str]) -> list[str]:
    """Returns permissions of boxes that were ticked, or of lists with commas, each once; unknown ones as they are."""
    return list(dict.fromkeys(word.strip().lower() for text in given for word in text.split(",") if word.strip()))
