"""Whether a connector's credential is taken by its cloud."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """What one replica last heard of a connector's credential, since when it hears that (Unix seconds).

    Where it is refused, `reason` names the ErrorReason, `message` says what the cloud said, and `mend` is the command
    that mends it, or what to do where no command does.
    """

    healthy: bool
    since: float
    reason: str = ""
    message: str = ""
    mend: str = ""
