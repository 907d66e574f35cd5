"""The append-only record of every decision."""

from broker.ledger.ledger import SqlLedger

__all__ = ["SqlLedger"]
