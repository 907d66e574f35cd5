"""What goes into the ledger besides issued tokens: refusals, in bounds, and changes that admins make."""

from valetkey_broker.recording.missing_outcomes import MissingOutcomes
from valetkey_broker.recording.recorded_changes import Changes
from valetkey_broker.recording.refusals import Refusals

__all__ = ["Changes", "MissingOutcomes", "Refusals"]
