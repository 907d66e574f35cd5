"""Vault, or OpenBao: the broker's store of record."""

from broker.adapters.vault.policy import broker_policy
from broker.adapters.vault.store import VaultStateStore

__all__ = ["VaultStateStore", "broker_policy"]
