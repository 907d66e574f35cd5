"""A real OpenBao for the tests of one module, and no API keys left in it by the test before."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from hvac.exceptions import InvalidPath

from support.openbao import running_openbao
from valetkey_devstack.openbao import MOUNT, OpenBao


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenBao]:
    async with running_openbao(tmp_path_factory.mktemp("process")) as running:
        yield running


@pytest.fixture
async def bao(server: OpenBao) -> AsyncIterator[OpenBao]:
    """The server, with an empty store; in order again after a test that killed it."""
    yield server
    await server.recover()
    admin = server.admin()
    kv = admin.secrets.kv.v2
    try:
        names = kv.list_secrets("api-keys", mount_point=MOUNT)["data"]["keys"]
    except InvalidPath:
        names = []
    for path in ("generation", *(f"api-keys/{name}" for name in names)):
        kv.delete_metadata_and_all_versions(path, mount_point=MOUNT)
    admin.adapter.close()
