"""Abuse limits: token buckets and slots, in the memory of one process."""

from valetkey_broker.limits.buckets import TokenBuckets
from valetkey_broker.limits.client_network import network_of
from valetkey_broker.limits.concurrent_slots import Slots
from valetkey_broker.limits.throttle import Bucket, Throttle

__all__ = ["Bucket", "Slots", "Throttle", "TokenBuckets", "network_of"]
