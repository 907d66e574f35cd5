"""Revocations in words, the same on the command line and in the console. Pure."""

from valetkey.revocation_values import KeyRevocation, RevocationTarget

KINDS_OF_KEYS = {"user-delegation-key": "user delegation keys", "account-key": "a key of the account"}


def given(target: RevocationTarget) -> dict[str, str]:
    """Returns what is given of a target, by what it is: all of it has to fit."""
    parts = {
        "lease": target.lease_id,
        "principal": target.principal,
        "grant": target.grant,
        "connector": target.connector,
        "resource": target.resource,
    }
    return {kind: name for kind, name in parts.items() if name}


def target_words(target: RevocationTarget) -> tuple[str, ...]:
    """Returns what a target names, each as `KIND NAME`."""
    return tuple(f"{kind} {name}" for kind, name in given(target).items())


def holder_words(path: str) -> str:
    """Returns `connector NAME` or `secret NAME` for `connectors/NAME` and `secrets/NAME`."""
    folder, _, name = path.partition("/")
    return f"{folder.removesuffix('s')} {name}"


def rotation_words(keys: KeyRevocation) -> str:
    """Returns how far the rotation is by which a key of an account's own ends."""
    return f"{holder_words(keys.rotates)}: {keys.rotation_state or 'not begun yet'}"


def key_words(keys: KeyRevocation) -> str:
    """Returns how far the revocation of one account's keys is."""
    said = f"{keys.account}: {keys.state}"
    if keys.rotates:
        said += f", {holder_words(keys.rotates)} rotated" if keys.revoke_time else f", rotates {rotation_words(keys)}"
    if keys.revoke_time:
        least = "at least " if keys.hits_incomplete else ""
        said += f", hit {least}{keys.covered} and {keys.others} others on record"
    return f"{said} ({keys.error})" if keys.error else said
