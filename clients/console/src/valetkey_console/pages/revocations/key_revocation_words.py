"""What revoking keys does, in words; what the command line says as well is in `valetkey.revocation_words`."""

from valetkey.revocation_values import Revocation, RevokedSigner
from valetkey.revocation_words import holder_words, key_words

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
    return tuple(map(key_words, revocation.keys)) if revocation.hard else ("not revoked",)
