"""Errors about credentials that the broker makes by itself."""

from collections.abc import Sequence

from valetkey_broker.errors.base import BrokerError, Reason
from valetkey_broker.errors.dependencies import cloud_error

_AGAIN_SECONDS = 30.0


def secret_not_removed_yet(connector: str, key_id: str) -> BrokerError:
    """Graph lists a secret and does not find it: not all of its servers know it yet."""
    text = f"Cannot remove secret {key_id}: Microsoft Graph lists it, and does not find it yet. Try again later."
    return cloud_error(
        Reason.CLOUD_UNAVAILABLE, text, step="remove a secret of the application", connector=connector, retry_after=5.0
    )


def account_key_in_use(account: str, key: str, users: Sequence[str], by: str) -> BrokerError:
    """A key that is to be regenerated is what others here work with: each `connector NAME` or `secret NAME`."""
    message = (
        f"{key} of storage account {account} is not regenerated while others use it: {', '.join(users)}. Rotate those "
        f"too ({_rotating(users, by)}); this goes on by itself then."
    )
    # Tried again by the usual pauses: the others may be rotated just now, too.
    return BrokerError(Reason.CONFLICT, message, {"account": account})


def account_key_given_too_late(account: str, key: str, users: Sequence[str], by: str) -> BrokerError:
    """A key was given to others here, `users` as above, while it was being regenerated: they have a dead one."""
    message = (
        f"the {key} of before of storage account {account} was given to others while it was being regenerated: "
        f"{', '.join(users)}. Storage refuses what they sign; rotate them: {_rotating(users, by)}"
    )
    return BrokerError(Reason.CONFLICT, message, {"account": account})


def account_key_about_to_go(account: str, key: str, holder: str) -> BrokerError:
    """Another rotation, that of the object at `holder`, has the key made anew which this one would switch to."""
    folder, _, name = holder.partition("/")
    command = f"valetkey {'secret' if folder == 'secrets' else 'service-connector'} rotate {name} --status"
    message = (
        f"{key} of storage account {account} is about to be regenerated for {holder}, whose rotation is under way. "
        f"Rotate this one again once that is over: {command}"
    )
    return BrokerError(Reason.CONFLICT, message, {"account": account})


def account_key_not_regenerated(connector: str, account: str, key: str) -> BrokerError:
    """Azure says that it regenerated a key, and shows the old one."""
    text = f"Azure still shows the old {key} of storage account {account}. Try again later."
    return cloud_error(
        Reason.CLOUD_UNAVAILABLE,
        text,
        step="regenerate a key of the account",
        connector=connector,
        account=account,
        retry_after=_AGAIN_SECONDS,
    )


def cannot_rotate_by_itself(object_path: str, why: str, expected: str) -> BrokerError:
    """There is no provider that could be asked for another credential of that kind; `why` goes on a sentence."""
    name = object_path.partition("/")[2]
    message = f"{name} cannot get another credential by itself: {why}; {expected}"
    return BrokerError(Reason.INVALID_FIELD, message, {"field": "auto", "expected": expected})


def _rotating(users: Sequence[str], by: str) -> str:
    kinds = {"connector": "service-connector", "secret": "secret"}
    parts = [user.partition(" ") for user in users]
    return "; ".join(f"valetkey {kinds[kind]} rotate {name} --auto --by {by}" for kind, _, name in parts)
