"""Vault, or OpenBao: the broker's store of record."""

from valetkey_broker.adapters.vault.broker_policy import broker_policy
from valetkey_broker.adapters.vault.store import VaultStateStore

__all__ = ["VaultStateStore", "broker_policy"]
