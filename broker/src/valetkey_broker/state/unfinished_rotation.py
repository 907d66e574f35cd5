"""Tells whether something is being rotated, as it is in Vault now."""

from valetkey_broker.model import Rotation, rotation_path
from valetkey_broker.ports import StateStore
from valetkey_broker.state.rotation_codec import decode_rotation


async def unfinished_rotation(store: StateStore, object_path: str, uid: str) -> Rotation | None:
    """Returns the rotation of the object at `object_path` that is not over; None too for one that nobody can read."""
    path = rotation_path(object_path)
    document = await store.read(path)
    if document is None:
        return None
    try:
        rotation = decode_rotation(path, document.data, document.version)
    except (KeyError, TypeError, ValueError):
        return None  # Edited by hand: nobody goes on with it.
    return rotation if rotation.object_uid == uid and not rotation.state.ended else None
