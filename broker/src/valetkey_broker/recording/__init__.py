"""What goes into the ledger besides issued tokens: refusals, in bounds, and changes that admins make."""

from valetkey_broker.recording.recorded_changes import Changes
from valetkey_broker.recording.refusals import Refusals
from valetkey_broker.recording.unfinished_changes import MissingOutcomes

__all__ = ["Changes", "MissingOutcomes", "Refusals"]
