"""The append-only record of every decision."""

from valetkey_broker.ledger.ledger import SqlLedger
from valetkey_broker.ledger.migrating import migrate_ledger
from valetkey_broker.ledger.preflight import check_ledger

__all__ = ["SqlLedger", "check_ledger", "migrate_ledger"]
