"""The append-only record of every decision."""

from valetkey_broker.ledger.ledger import SqlLedger

__all__ = ["SqlLedger"]
