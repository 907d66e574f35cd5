"""What goes into the ledger besides issued tokens: refusals, in bounds, and changes that admins make."""

from valetkey_broker.recording.changes import Changes
from valetkey_broker.recording.refusals import Refusals
from valetkey_broker.recording.unfinished import UnfinishedChanges

__all__ = ["Changes", "Refusals", "UnfinishedChanges"]
