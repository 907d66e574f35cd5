"""`valetkey whoami`: who the caller is to the broker."""

import typer

from valetkey.cli.global_options import client_of, identity_of
from valetkey.cli.output_option import Output
from valetkey.cli.screen import OutputFormat, Screen
from valetkey.times import utc

_PROOFS = {"api-key": "an API key", "oidc": "a token of an OIDC issuer", "mtls": "a client certificate"}


def whoami(context: typer.Context, *, output: Output = OutputFormat.TABLE) -> None:
    """Say as whom the broker takes you: principal, roles, how that was proved, and until when it counts."""
    screen = Screen(as_json=output is OutputFormat.JSON)
    with client_of(context, screen) as client:
        found = client.who_am_i()
    until = utc(found.expire_time) if found.expire_time else ""
    if screen.as_json:
        screen.json(
            {
                "principal": found.principal,
                "roles": list(found.roles),
                "authentication": found.authentication,
                "expire_time": until or None,
                "attributes": dict(found.attributes),
            }
        )
        return
    screen.properties(
        [
            ("principal", found.principal),
            ("known by", str(identity_of(context))),
            ("roles", ", ".join(found.roles) or "(none: what it may have, grants say)"),
            ("proved by", _PROOFS.get(found.authentication, found.authentication)),
            ("until", until or "(no end of its own)"),
            *((f"attribute {key}", value) for key, value in found.attributes.items()),
        ]
    )
