"""Abuse limits: token buckets and slots, in the memory of one process."""

from valetkey_broker.limits.buckets import TokenBuckets
from valetkey_broker.limits.network import network_of
from valetkey_broker.limits.slots import Slots
from valetkey_broker.limits.throttle import Bucket, Throttle

__all__ = ["Bucket", "Slots", "Throttle", "TokenBuckets", "network_of"]
