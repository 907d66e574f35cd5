"""The record of what was issued."""

from broker.ledger.log import LogLedger

__all__ = ["LogLedger"]
