"""The groups of calls. One loads when a call of it is first used: most programs use one group or two."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from valetkey.calls import (
        api_keys,
        connector_types,
        connectors,
        credentials,
        expiry,
        grants,
        identity,
        ledger,
        resources,
        revocations,
        secrets,
        tokens,
    )
else:
    from valetkey.callers.lazy_methods import Group

    def __getattr__(name):  # noqa: ANN001, ANN202 (of a module: any name is a group)
        return Group(name)


__all__ = [
    "api_keys",
    "connector_types",
    "connectors",
    "credentials",
    "expiry",
    "grants",
    "identity",
    "ledger",
    "resources",
    "revocations",
    "secrets",
    "tokens",
]
