"""What `valetkey proxy` and `valetkey exec` share: their options, and a proxy that runs by them."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from ssl import SSLContext, SSLError
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

import typer

from valetkey.async_token_source import AsyncTokenSource
from valetkey.cli.global_options import GlobalOptions, settings_of
from valetkey.cli.lifetime_option import parse_life
from valetkey.cli.permission_and_attribute_parsing import PERMISSIONS, parse_permissions
from valetkey.cli.screen import Screen
from valetkey.cli.tool_access import ToolAccess
from valetkey.errors import SettingsError
from valetkey.settings import Settings
from valetkey.storage_certificate_check import check_certificate

if TYPE_CHECKING:
    from valetkey.proxy import SigningProxy

Resource = Annotated[
    str,
    typer.Option(help="Container, az://CONTAINER/PATH, abfs(s)://…, wasb(s)://… or https://…", show_default=False),
]
Permissions = Annotated[
    list[str],
    typer.Option(help=f"Comma-separated, or repeated: {', '.join(PERMISSIONS)}.", metavar="LIST"),
]
Ttl = Annotated[
    str | None,
    typer.Option(help="How long each token lives; the broker's default if left out.", show_default=False),
]
StorageCaFile = Annotated[
    str | None,
    typer.Option(
        help="CA certificates to trust storage by, PEM, besides the system's; or VALETKEY_STORAGE_CA_FILE.",
        envvar="VALETKEY_STORAGE_CA_FILE",
        show_envvar=False,
        show_default=False,
    ),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 for a free one.")]

# What people want of a proxy that they name no permissions for: to look, and to read.
DEFAULT_PERMISSIONS = ["read,list"]
_UNTRUSTED = "expected one by the system's CAs, or by those in --storage-ca-file or VALETKEY_STORAGE_CA_FILE"
# Variables by which tools reach everything but this machine.
# Connections of tools and to storage, several times over.
_DESCRIPTORS = 4096
_NO_PROXY = ("NO_PROXY", "no_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What tokens are asked for with."""

    resource: str
    permissions: Sequence[str]
    ttl: str | None
    connector: str | None
    purpose: str | None

    def arguments(self, screen: Screen) -> dict[str, Any]:
        """Returns them as the client takes them. Raises InvalidArgumentError for what is no value."""
        life: timedelta | None = None if self.ttl is None else parse_life(self.ttl, "--ttl", screen)
        return {
            "resource": self.resource,
            "permissions": parse_permissions(self.permissions),
            "ttl": life,
            "connector": self.connector,
            "purpose": self.purpose,
        }


@asynccontextmanager
async def running_proxy(
    context: typer.Context, screen: Screen, wanted: Wanted, *, port: int, storage_ca_file: str | None
) -> "AsyncIterator[tuple[SigningProxy, ToolAccess]]":
    """Runs a proxy while the block runs. Raises a ValetKeyError where it cannot begin, or storage is not trusted."""
    tls = storage_trust(storage_ca_file)
    raise_descriptors()
    async with (
        token_source(context, settings_of(context, screen), wanted.arguments(screen)) as tokens,
        served_proxy(tokens, tls, port=port, port_option="--port") as proxy,
    ):
        yield proxy, proxy_access(proxy, parse_permissions(wanted.permissions))


def storage_trust(ca_file: str | None) -> SSLContext:
    """Returns whom to trust as storage. Raises SettingsError for a bad file, or without the extra."""
    try:
        from valetkey.proxy import trust  # noqa: PLC0415 (an extra)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("aiohttp", "yarl", "multidict"):
            raise
        raise SettingsError(
            'the proxy is not installed; install valetkey[proxy], for example with: pip install "valetkey[cli,proxy]"'
        ) from None
    try:
        return trust(None if ca_file is None else Path(ca_file))
    except OSError as error:
        why = "it holds no certificate" if isinstance(error, SSLError) else error.strerror
        raise SettingsError(
            f"--storage-ca-file: {ca_file} cannot be used: {why}; expected CA certificates, PEM"
        ) from None


def token_source(context: typer.Context, settings: Settings, arguments: Mapping[str, Any]) -> AsyncTokenSource:
    """Returns a source of tokens by the global options; `arguments` say of what."""
    given: GlobalOptions = context.obj
    return AsyncTokenSource(
        **arguments,
        endpoint=settings.endpoint,
        ca_file=settings.ca_file,
        timeout=given.timeout_seconds,
        **settings.identity.arguments(),
    )


@asynccontextmanager
async def served_proxy(
    tokens: AsyncTokenSource, tls: SSLContext, *, port: int, port_option: str
) -> "AsyncIterator[SigningProxy]":
    """Runs a proxy with these tokens while the block runs; errors of its port name `port_option`."""
    from valetkey.proxy import SigningProxy  # noqa: PLC0415 (an extra)

    async with AsyncExitStack() as stack:
        try:
            proxy = await stack.enter_async_context(SigningProxy(tokens, port=port, tls=tls))
        except OSError as error:
            raise SettingsError(
                f"{port_option}: cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}; "
                "expected a free port"
            ) from None
        await check_certificate(proxy.place.origin, tls, _UNTRUSTED)
        yield proxy


def raise_descriptors() -> None:
    """Raises how many files this process may have open to what the proxy can need, or as far as is allowed.

    And no further: a command inherits it, and some programs close as many descriptors as there may be when they start.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns variables that keep tools from asking a company's proxy for this machine; none where there is none."""
    if not any(environ.get(name) for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")):
        return {}
    told = next((environ[name] for name in _NO_PROXY if environ.get(name)), "")
    return dict.fromkeys(_NO_PROXY, ",".join(filter(None, (told, "127.0.0.1,localhost"))))


def stop_signals() -> asyncio.Event:
    """Returns what is set by SIGTERM, SIGINT or, unless that is ignored as by nohup, SIGHUP."""
    stopped = asyncio.Event()
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped


def proxy_access(proxy: "SigningProxy", permissions: Sequence[str]) -> ToolAccess:
    """Returns how tools reach storage by it."""
    fields = parse_qs(proxy.first.sas)
    sas = proxy.key.sas(fields.get("sp", ["rl"])[0], fields.get("sv", ["2025-07-05"])[0])
    place = proxy.place
    endpoint = f"http://127.0.0.1:{proxy.port}/{place.account}"
    return ToolAccess(place.account, place.container, endpoint, sas, tuple(permissions), place.path, through_proxy=True)
