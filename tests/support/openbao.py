"""A running OpenBao for a group of tests, and stores on it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from valetkey_broker.adapters.vault import VaultStateStore
from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import ROLE, OpenBao, start_openbao


@asynccontextmanager
async def running_openbao(directory: Path) -> AsyncIterator[OpenBao]:
    """Gives a fresh server in `directory`; ends it afterwards."""
    bao = await start_openbao(directory / "openbao", make_ca(directory))
    try:
        yield bao
    finally:
        await bao.stop()


@asynccontextmanager
async def store_on(bao: OpenBao, **overrides: Any) -> AsyncIterator[VaultStateStore]:
    """Gives a store that has not been opened; closes it afterwards. `overrides` are fields of VaultSettings."""
    store = VaultStateStore(bao.settings(**overrides))
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def login_life(bao: OpenBao, *, ttl: int, max_ttl: int = 3600) -> AsyncIterator[None]:
    """Lets the logins made from now on live for `ttl` seconds, renewed at most until `max_ttl`."""
    admin = bao.admin()
    role = admin.auth.approle
    role.create_or_update_approle(ROLE, token_ttl=f"{ttl}s", token_max_ttl=f"{max_ttl}s")
    try:
        yield
    finally:
        role.create_or_update_approle(ROLE, token_ttl="20m", token_max_ttl="24h")
        admin.adapter.close()


def token_of(store: VaultStateStore) -> str:
    """Returns the token that `store` uses, for a test to revoke or to look for in logs."""
    return str(store._client._hvac.token)
