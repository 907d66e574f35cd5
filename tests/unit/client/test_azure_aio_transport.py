"""Connections of asynchronous clients, where the storage's CA is one of our own."""

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from azure.core.pipeline.transport import AioHttpTransport, HttpRequest

from valetkey.azure.aio_transport import aio_transport
from valetkey_devstack.ca import make_ca


async def test_connections_are_used_again_where_a_ca_file_is_trusted(tmp_path: Path) -> None:
    """One handshake for all requests that follow each other, and a wrong CA is still refused."""
    ca = make_ca(tmp_path)
    certificate, key = ca.issue("storage", tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    peers: set[Any] = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(text="here")

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/"
        async with aio_transport(connection_verify=str(ca.ca_file)) as transport:
            for _ in range(5):
                response = await transport.send(HttpRequest("GET", url))
                await response.load_body()
                assert response.body() == b"here"
        assert len(peers) == 1
        # Once closed it stays closed, as azure-core's own.
        with pytest.raises(ValueError, match="already been closed"):
            await transport.send(HttpRequest("GET", url))
        (tmp_path / "other").mkdir()
        other = make_ca(tmp_path / "other")
        async with aio_transport(connection_verify=str(other.ca_file)) as transport:
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                await transport.send(HttpRequest("GET", url))
    finally:
        await runner.cleanup()


def test_without_a_ca_file_it_is_azure_cores_own() -> None:
    """Nothing is put in between where nothing needs mending."""
    for settings in ({}, {"connection_verify": False}, {"connection_verify": "ca.pem", "connection_cert": "c.pem"}):
        assert type(aio_transport(**settings)) is AioHttpTransport
