"""What goes into the ledger besides issued tokens: refusals, in bounds, and changes that admins make."""

from broker.recording.changes import Changes, UnrecordedOutcomeError
from broker.recording.refusals import Refusals

__all__ = ["Changes", "Refusals", "UnrecordedOutcomeError"]
