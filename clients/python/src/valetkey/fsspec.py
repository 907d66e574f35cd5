"""A file system of fsspec whose tokens renew themselves, built on adlfs (extra `fsspec`).

    frame = pandas.read_parquet("valetkey://models/runs/1.parquet")
    files = valetkey.fsspec.filesystem("az://models", permissions=["read", "list", "write"])

URLs are ids of resources as everywhere, with `valetkey` in place of their scheme: `valetkey://models/runs`, or, where
two accounts have such a container, `valetkey://models@ACCOUNT.dfs.core.windows.net/runs`. A file system is for one
container.
"""

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, cast

try:
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import BlobServiceClient
    from fsspec.asyn import get_loop, sync, sync_wrapper

    from valetkey.fsspec_adlfs_workarounds import Corrections
    from valetkey.fsspec_files import FileChangedError, ValetKeyFile
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"valetkey.fsspec needs {error.name}; install valetkey[fsspec]", name=error.name
    ) from None

from valetkey import fsspec_fork_lock
from valetkey.absolute_paths import from_the_root
from valetkey.account_and_container import account_and_container
from valetkey.async_token_source import AsyncTokenSource
from valetkey.azure import aio
from valetkey.errors import InvalidArgumentError, SettingsError
from valetkey.fsspec_options import SCHEME, OfOneFolder, Surroundings, refuse_other_credentials, resource_of, words
from valetkey.fsspec_paths import StripProtocol, refuse_other_account
from valetkey.fsspec_refusals import Refusals
from valetkey.token_source import TokenSource

_READER = ("read", "list")
_COPY_SECONDS = 0.5


class ValetKeyFileSystem(Refusals, Corrections, metaclass=OfOneFolder):
    """The blobs of one container; each attempt of each request carries the token that is current then.

    Pickled, it travels as its arguments, without any token; in a forked child it starts anew.
    """

    protocol = "valetkey"
    surroundings = Surroundings()
    _extra_tokenize_attributes = ("surroundings",)
    _strip_protocol = StripProtocol()
    _made = False

    def __init__(
        self,
        resource: str | None = None,
        permissions: str | Iterable[str] = _READER,
        *,
        container: str | None = None,
        ttl: timedelta | float | None = None,
        connector: str | None = None,
        source_ip: str | None = None,
        purpose: str | None = None,
        endpoint: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        client_cert_file: str | os.PathLike[str] | None = None,
        client_key_file: str | os.PathLike[str] | None = None,
        config_file: str | os.PathLike[str] | None = None,
        broker_timeout: float = 30.0,
        storage_ca_file: str | os.PathLike[str] | None = None,
        **adlfs: Any,
    ) -> None:
        """Asks for the first token.

        `resource` is what the token is for, `az://CONTAINER` or less; left out, it is the container of the URL, which
        fsspec gives as `container`. `permissions` may be one string with commas. `ttl` is a number of seconds, too.
        The rest are the arguments of TokenSource (`broker_timeout` is its `timeout`) and what adlfs takes apart from
        its ways to log in, such as `blocksize` and `use_listings_cache`. `storage_ca_file` are certificates to trust
        storage by; left out, VALETKEY_STORAGE_CA_FILE names them, else the system's count. Raises InvalidArgumentError
        for what cannot be used, otherwise as `TokenSource.current` does.
        """
        refuse_other_credentials(adlfs)
        given = resource_of(resource, container)
        scope = (given, words(permissions))
        where: dict[str, Any] = {
            "ttl": timedelta(seconds=ttl) if isinstance(ttl, (int, float)) else ttl,
            "connector": connector,
            "source_ip": source_ip,
            "purpose": purpose,
            "endpoint": endpoint,
            "ca_file": ca_file,
            "api_key_file": api_key_file,
            "token_file": token_file,
            "client_cert_file": client_cert_file,
            "client_key_file": client_key_file,
            "config_file": config_file,
            "timeout": broker_timeout,
        }
        self._scope, self._where = scope, where
        self._tokens = TokenSource(*scope, **where)
        trusted = storage_ca_file or os.environ.get("VALETKEY_STORAGE_CA_FILE")
        self._transport = {"connection_verify": os.fspath(from_the_root(trusted))} if trusted else {}
        self._inherited: list[BlobServiceClient] = []
        # Whoever makes a file system waits for the broker, not fsspec's loop, in which all requests run.
        token = self._tokens.current()
        self._account = token.resource.account
        try:
            refuse_other_account(container or "", self._account)
        except InvalidArgumentError:
            self._tokens.close()
            raise
        self.resource_id = token.resource.resource_id
        self._account_url, self.container = account_and_container(token)
        # With a credential adlfs looks for none in the environment. A token for a container cannot ask whether it is
        # there.
        super().__init__(
            account_name=token.resource.account,
            credential=aio.AsyncSasCredential(AsyncTokenSource.of(self._tokens)),
            anon=False,
            assume_container_exists=adlfs.pop("assume_container_exists", True),
            **adlfs,
        )
        self._made = True

    def do_connect(self) -> None:
        """Makes the client of Azure's library; adlfs calls it when it has read its environment, which is undone."""
        self.connection_string = self.account_key = self.sas_token = None
        self.client_id = self.client_secret = self.tenant_id = None
        self.account_url = self._account_url
        settings = aio.options(AsyncTokenSource.of(self._tokens), **self._transport)
        self.credential = settings["credential"]
        self.service_client = BlobServiceClient(self._account_url, **settings)

    def close(self) -> None:
        """Ends renewal and connections; both begin anew with the next request: fsspec may hand this instance out again.

        For synchronous users.
        """
        sync(self.loop, self.service_client.close)
        self._tokens.close()
        # An identity whose file has gone by now is no reason not to end; the next request says that this is closed.
        with contextlib.suppress(SettingsError):
            self._tokens = TokenSource(*self._scope, **self._where)
        self.do_connect()

    @property
    def loop(self) -> Any:
        """The loop that works for synchronous users; in a forked child, whose parent's loop stands still, a new one."""
        if self._pid != os.getpid():
            with fsspec_fork_lock.guard():
                self._begin_in_child()
        # In the loop that there is by then, adlfs closes connections as the program ends; asynchronous ones have none.
        return get_loop() if self.asynchronous and not self._made else self._loop

    def _begin_in_child(self) -> None:
        if self._pid == os.getpid():
            return  # Another thread came first.
        # Collected, the parent's client would close what the parent goes on with.
        self._inherited.append(self.service_client)
        if not self.asynchronous:
            self._loop = get_loop()
        self.do_connect()
        # Last: who sees it goes on, and in the parent's loop would wait for ever.
        self._pid: int = os.getpid()

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        """Returns what a URL says of the arguments."""
        first = SCHEME.sub("", path, count=1).lstrip("/").partition("/")[0]
        said: dict[str, Any] = {"container": first} if first else {}
        return {**said, "version_aware": True} if "?versionid=" in path else said

    def split_path(self, path: str, delimiter: str = "/", **more: Any) -> tuple[str, str, str | None]:
        """Returns container, name and version of a path; refuses other containers, which the token is not for."""
        container, name, version = super().split_path(path, delimiter, **more)
        if container not in ("", ".", "*", self.container):
            raise InvalidArgumentError(
                f"{container}/{name}: this file system has a token for {self.resource_id} only; expected a path below "
                f"{self.container}/, or another file system for {container}"
            )
        return container, name, version

    async def _info(self, path: str, refresh: bool = False, **more: Any) -> dict[str, Any]:
        if self._strip_protocol(path).strip("/") == self.container:
            return self._root()  # A token for a container cannot ask for its properties.
        return cast("dict[str, Any]", await super()._info(path, refresh, **more))

    async def _isfile(self, path: str) -> bool:
        """Tells whether there is such a blob; raises HttpResponseError where storage does not let us know.

        adlfs says no to whatever goes wrong, and pyarrow makes FileNotFoundError of that: a job whose token is refused
        would begin anew, over what is there (findings/adlfs-calls-a-refused-blob-absent.sh). Who may list without
        reading is answered by a listing: adlfs asks this of all that it looks for in a directory.
        """
        bare = self._strip_protocol(path)
        with contextlib.suppress(FileNotFoundError):
            if any(each["name"] == bare and each["type"] == "file" for each in self._ls_from_cache(bare) or ()):
                return True
        container, name, version = self.split_path(path)
        if not name:
            return False
        try:
            found = await self.service_client.get_blob_client(container, name).get_blob_properties(version_id=version)
        except ResourceNotFoundError:
            return False
        except HttpResponseError as error:
            if version and error.status_code == HTTPStatus.BAD_REQUEST:  # no version is called so
                return False
            if version or error.status_code != HTTPStatus.FORBIDDEN or "list" not in self._scope[1]:
                raise
            listed = await self._first_listed(container, name)
            if listed is None or listed.name != name:
                return False
            found = listed
        return bool((await self._details([found]))[0]["type"] == "file")

    async def _first_listed(self, container: str, prefix: str) -> BlobProperties | None:
        """Returns the first blob of a prefix, which is the one of just that name where there is one."""
        found = self.service_client.get_container_client(container).list_blobs(
            name_starts_with=prefix, include=["metadata"], results_per_page=1
        )
        return await anext(aiter(found), None)

    async def _ls_containers(self, return_glob: bool = False) -> list[dict[str, Any]]:
        _ = return_glob
        return [self._root()]

    async def _cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copies within storage, and waits for it: whoever moves a blob deletes its source next."""
        container, name, version = self.split_path(path1)
        source = self.service_client.get_blob_client(container, name).url
        if version:
            source = f"{source}?versionid={version}"
        blob = self.service_client.get_blob_client(*self.split_path(path2)[:2])
        try:
            begun = await blob.start_copy_from_url(source)
        except ResourceNotFoundError as error:
            if await self._is_no_blob(path1, container, name):
                return
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path1) from error
        status: Any = begun["copy_status"]
        while status == "pending":
            await asyncio.sleep(_COPY_SECONDS)
            status = (await blob.get_blob_properties()).copy.status
        self.invalidate_cache(self._parent(path2))
        if status != "success":
            raise OSError(errno.EIO, f"storage ended the copy of {path1} as {status}", path2)

    async def _is_no_blob(self, path: str, container: str, name: str) -> bool:
        """Tells whether a path is that of a directory alone, which comes along where all that is in it is moved."""
        return "list" in self._scope[1] and not await self._isfile(path) and await self._dir_exists(container, name)

    # adlfs binds its own coroutine to this name as its class is made.
    cp_file = sync_wrapper(_cp_file)

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, version_id: str | None = None, **more: Any
    ) -> ValetKeyFile:
        if version_id and not self.version_aware:
            raise ValueError("version_id: expected none, or a file system with version_aware=True")
        size = self.blocksize if block_size is None else block_size
        given = {"cache_type": "readahead", **more}
        return ValetKeyFile(self, path, mode, block_size=size, version_id=version_id, **given)

    def _root(self) -> dict[str, Any]:
        return {"name": self.container, "size": None, "type": "directory"}


def filesystem(resource: str, *, permissions: str | Iterable[str] = _READER, **options: Any) -> ValetKeyFileSystem:
    """Returns a file system for `az://CONTAINER` or less, with the options of ValetKeyFileSystem.

    The same arguments in the same surroundings give the same instance, unless `skip_instance_cache=True` is among them.
    """
    return ValetKeyFileSystem(resource, permissions=",".join(words(permissions)), **options)


__all__ = ["FileChangedError", "ValetKeyFileSystem", "filesystem"]
