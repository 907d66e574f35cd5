"""What a SAS consists of in a URL, and which refusals of storage a fresh one may mend."""

# All that a service, account or user delegation SAS can hold; no API of storage has a parameter of the same name. What
# overrides headers of answers (rsc...) is signed too, so nobody can add it to a token.
# Source: https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas, and the pages of the others.
SAS_PARAMETERS = frozenset(
    (
        *("sv", "ss", "srt", "sr", "st", "se", "sp", "sip", "spr", "sig", "si", "ses", "sdd", "srh", "srq"),
        *("skoid", "sktid", "skt", "ske", "sks", "skv", "saoid", "suoid", "scid", "sduoid", "skdutid"),
        *("rscc", "rscd", "rsce", "rscl", "rsct"),
    )
)

# Storage says them of a token that is over, or signed by a key that was withdrawn (Azurite says AuthorizationFailure);
# emulators leave the code out at times. Of a permission that is missing it says AuthorizationPermissionMismatch: a
# fresh token has the same ones.
_FRESH_TOKEN_MAY_HELP = ("AuthenticationFailed", "AuthorizationFailure", "InvalidAuthenticationInfo", "")
_REFUSED = (401, 403)


def fresh_token_may_help(status: int, error_code: str) -> bool:
    """Tells whether a refusal may be due to the token's age; `error_code` is the header `x-ms-error-code`, or empty."""
    return status in _REFUSED and error_code in _FRESH_TOKEN_MAY_HELP
