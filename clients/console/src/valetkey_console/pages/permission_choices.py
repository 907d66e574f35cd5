"""What each permission is for, and the ready-made roles, as people choose them in forms (docs/grants.md)."""

from collections.abc import Iterable

PERMISSIONS = (
    ("read", "r", "download content and see its size"),
    ("list", "l", "list blobs; needed to load artifacts that are directories"),
    ("write", "w", "upload and overwrite; clients that upload in blocks need it"),
    ("create", "c", "upload new blobs in one piece; included in write"),
    ("add", "a", "append to append blobs; included in write"),
    ("delete", "d", "delete and rename; needed to clean up after failed steps"),
    ("move", "m", "move blobs and directories (accounts with hierarchical namespace)"),
    ("execute", "e", "read system properties and access lists (accounts with hierarchical namespace)"),
)
PERMISSION_CHOICES = tuple((word, f"{word} ({letter}): {what}") for word, letter, what in PERMISSIONS)
ROLE_CHOICES = (
    ("deployer", "deployer: read, list"),
    ("step-operator", "step-operator: read, list, write, create, add"),
    ("step-operator-with-delete", "step-operator-with-delete: read, list, write, create, add, delete"),
    ("orchestrator", "orchestrator: read, list, write, create, add"),
    ("orchestrator-with-delete", "orchestrator-with-delete: read, list, write, create, add, delete"),
)


def words_of(given: Iterable[str]) -> list[str]:
    """Returns permissions of boxes that were ticked, or of lists with commas, each once; unknown ones as they are."""
    return list(dict.fromkeys(word.strip().lower() for text in given for word in text.split(",") if word.strip()))
