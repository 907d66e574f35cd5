"""Errors about rotations of credentials."""

from datetime import datetime

from valetkey_broker.errors.base import BrokerError, Reason

# By RotationState.can_be_aborted: an advice that is refused helps nobody.
_CAN_BE_ABORTED = frozenset({"obtaining", "proving"})


def rotation_under_way(object_path: str, state: str, since: datetime, by: str, why: str = "") -> BrokerError:
    """The object at `object_path` is being given another credential already; `why` says what that waits for."""
    when = _moment(since)
    held = f", held up: {why.rstrip('.')}" if why else ""
    stop = f", or stop it ({_command(object_path)} --abort)" if state in _CAN_BE_ABORTED else ""
    message = (
        f"a rotation of {_called(object_path)} is under way: begun by {by} at {when}, now {state}{held}. Wait for its "
        f"end ({_command(object_path)} --status){stop}"
    )
    metadata = {"object": object_path, "started_by": by, "started_at": when, "state": state}
    return BrokerError(Reason.ROTATION_UNDER_WAY, message, metadata)


def rotation_past_abort(object_path: str, state: str, since: datetime, by: str) -> BrokerError:
    """The rotation cannot be aborted any more: the new credential is in use, or just about to be; or it is undone."""
    if state == "undoing":
        message = (
            f"the rotation of {_called(object_path)} did not work, and is being taken back already; the credential "
            f"before stays in use. Why, and when that is over: {_command(object_path)} --status"
        )
    else:
        message = (
            f"the rotation of {_called(object_path)} is {state}, which is past the point where it can be aborted; wait "
            f"for its end, then go back with {_command(object_path, 'rollback')}"
        )
    metadata = {"object": object_path, "started_by": by, "started_at": _moment(since), "state": state}
    return BrokerError(Reason.ROTATION_UNDER_WAY, message, metadata)


def rotation_not_found(object_path: str, ended_as: str = "") -> BrokerError:
    """There is no rotation of that object, or none that is under way; `ended_as` says how the last one ended."""
    if ended_as:
        message = f"no rotation of {_called(object_path)} is under way; the last one ended as {ended_as}"
    else:
        message = f"{_called(object_path)} was never rotated; begin with {_command(object_path)}"
    return BrokerError(Reason.ROTATION_NOT_FOUND, message, {"object": object_path})


def no_previous_credential(object_path: str, kept: int, wanted: int = 0) -> BrokerError:
    """The version that is to be gone back to is not kept; `kept` is the one that is, 0 for none."""
    there = f"only version {kept} is kept beside the one in use" if kept else "none is kept beside the one in use"
    what = f"version {wanted} of the credential of" if wanted else "an earlier credential of"
    message = (
        f"there is no going back to {what} {_called(object_path)}: {there}; {_command(object_path, 'list-versions')} "
        "shows what there is"
    )
    return BrokerError(Reason.NO_PREVIOUS_CREDENTIAL, message, {"object": object_path, "kept": str(kept)})


def use_secret_rotation(connector: str, secret: str, command: str) -> BrokerError:
    """A connector that uses a named secret has no credential of its own; `command` does with that what was asked."""
    message = (
        f"connector {connector} uses the secret {secret}, which others may use too, and has no credential of its own; "
        f"what is done with the secret, all that use it follow: valetkey secret {command}"
    )
    return BrokerError(Reason.INVALID_FIELD, message, {"field": "connector", "expected": f"secret {secret}"})


def credential_given_is_in_use(object_path: str) -> BrokerError:
    """What is given as the new credential is the one in use."""
    message = f"the credential that is given for {_called(object_path)} is the one in use; give a new one"
    return BrokerError(Reason.INVALID_FIELD, message, {"field": "azure_secret", "expected": "another credential"})


def credential_replaced_meanwhile(object_path: str) -> BrokerError:
    """The object got another credential from somebody else while a rotation was proving its own."""
    message = (
        f"{_called(object_path)} got another credential meanwhile, or is another by now; look at it and begin again"
    )
    return BrokerError(Reason.CONFLICT, message, {"object": object_path})


def rotation_taken_over(object_path: str) -> BrokerError:
    """Another process has the rotation by now, which took this one for dead."""
    message = f"another process goes on with the rotation of {_called(object_path)}, and this one does not any more"
    return BrokerError(Reason.CONFLICT, message, {"object": object_path})


def key_of_before_not_kept(object_path: str) -> BrokerError:
    """The credential that was replaced is not in Vault any more, so it cannot be tried whether it is dead."""
    message = f"the key that {_called(object_path)} had before is not kept any more, and cannot be tried"
    return BrokerError(Reason.CONFLICT, message, {"object": object_path})


def candidate_lost(object_path: str) -> BrokerError:
    """The credential that was to be proved is not in Vault any more."""
    message = f"the new credential of {_called(object_path)} is not in Vault any more; begin again"
    return BrokerError(Reason.CONFLICT, message, {"object": object_path})


def _called(object_path: str) -> str:
    folder, _, name = object_path.partition("/")
    return f"{'secret' if folder == 'secrets' else 'connector'} {name}"


def _command(object_path: str, verb: str = "rotate") -> str:
    folder, _, name = object_path.partition("/")
    return f"valetkey {'secret' if folder == 'secrets' else 'service-connector'} {verb} {name}"


def _moment(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")
