"""When a server takes its place on its port."""

from enum import Enum, auto


class Listen(Enum):
    """When a server takes its place on the port. Health can answer from then on, and so can a call fail.

    A broker of one process does it at once: nobody else is there. Of several workers each first tries Vault, so that
    none takes callers away from those that are quicker; and one that replaces another waits until it has read
    everything: the others serve meanwhile, perhaps from memory, with Vault away.
    """

    AT_ONCE = auto()
    ONCE_VAULT_WAS_TRIED = auto()
    ONCE_READY = auto()
