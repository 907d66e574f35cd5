"""Abuse limits: token buckets and slots, in the memory of one process."""

from broker.limits.buckets import TokenBuckets
from broker.limits.network import network_of
from broker.limits.slots import Slots
from broker.limits.throttle import Throttle

__all__ = ["Slots", "Throttle", "TokenBuckets", "network_of"]
