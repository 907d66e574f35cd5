"""Revocations in words, as `valetkey lease` has them."""

from valetkey.revocation_values import KeyRevocation, Revocation, RevocationTarget, RevokedSigner

SIGNED_WITH = {"user-delegation-key": "user delegation keys", "account-key": "a key of the account"}
# What nobody can list, by the kind of the keys.
BEYOND = {
    "user-delegation-key": (
        "This also ends tokens that anybody else signed with user delegation keys of the account: az, scripts, another "
        "broker. Only this broker's own tokens are on record and counted here."
    ),
    "account-key": (
        "This also ends access for everybody else who uses that account key: az, scripts, applications with a "
        "connection string. Only this broker's own tokens are on record and counted here."
    ),
}


def target_words(target: RevocationTarget) -> tuple[str, ...]:
    """Returns what a target names, each as `KIND NAME`; all of them have to fit."""
    return tuple(f"{name} {value}" for name, value in named(target).items())


def named(target: RevocationTarget) -> dict[str, str]:
    """Returns what is given of a target."""
    given = {
        "lease": target.lease_id,
        "principal": target.principal,
        "grant": target.grant,
        "connector": target.connector,
        "resource": target.resource,
    }
    return {name: value for name, value in given.items() if value}


def what_hard_does(signer: RevokedSigner) -> str:
    """Returns what becomes of the keys that signed the tokens, or what keeps them from being ended."""
    if signer.obstacle:
        return signer.obstacle
    if not signer.rotates:
        return "revoked through Azure Resource Manager"
    what = ", ".join(map(holder_words, signer.rotates))
    return f"{what} is rotated with connector {signer.by}, and the old key is regenerated at once"


def keys_words(revocation: Revocation) -> tuple[str, ...]:
    """Returns how far the revocation of keys is, account by account."""
    return tuple(map(_keys, revocation.keys)) if revocation.hard else ("not revoked",)


def holder_words(path: str) -> str:
    """Returns `connector NAME` or `secret NAME` for `connectors/NAME` and `secrets/NAME`."""
    folder, _, name = path.partition("/")
    return f"{folder.removesuffix('s')} {name}"


def _keys(keys: KeyRevocation) -> str:
    said = f"{keys.account}: {keys.state}"
    if keys.rotates:
        holder = holder_words(keys.rotates)
        state = keys.rotation_state or "not begun yet"
        said += f", {holder} rotated" if keys.revoke_time else f", rotates {holder}: {state}"
    if keys.revoke_time:
        said += f", hit {keys.covered} and {keys.others} others on record"
    return f"{said} ({keys.error})" if keys.error else said
