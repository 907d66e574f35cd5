"""The append-only record of every decision."""

from valetkey_broker.ledger.check import check_ledger
from valetkey_broker.ledger.ledger import SqlLedger

__all__ = ["SqlLedger", "check_ledger"]
