"""Tells whether something is being rotated, as it is in Vault now."""

from valetkey_broker.errors import BrokerError, rotation_under_way
from valetkey_broker.model import Rotation, rotation_path
from valetkey_broker.ports import StateStore
from valetkey_broker.state.rotation_codec import readable_rotation


async def unfinished_rotation(store: StateStore, object_path: str, uid: str) -> Rotation | None:
    """Returns the rotation of the object at `object_path` that is not over; None too for one that nobody can read."""
    path = rotation_path(object_path)
    rotation = readable_rotation(path, await store.read(path))
    return rotation if rotation and rotation.object_uid == uid and not rotation.state.ended else None


def under_way(rotation: Rotation) -> BrokerError:
    """Returns what is said to who would change what is being rotated."""
    state, why = rotation.state.value, rotation.message
    return rotation_under_way(rotation.object, state, rotation.started_at, rotation.started_by, why)
