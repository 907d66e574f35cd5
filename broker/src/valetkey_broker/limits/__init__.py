"""Abuse limits: token buckets and slots, in the memory of one process."""

from valetkey_broker.limits.buckets import TokenBuckets
from valetkey_broker.limits.network import network_of
from valetkey_broker.limits.slots import Slots
from valetkey_broker.limits.throttle import Throttle

__all__ = ["Slots", "Throttle", "TokenBuckets", "network_of"]
