"""What goes into the ledger besides issued tokens: refusals, in bounds, and changes that admins make."""

from broker.recording.refusals import Refusals

__all__ = ["Refusals"]
