"""`FakeBroker`: a broker inside your own tests' process, for programs that ask for tokens."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import grpc

from valetkey.client import Client
from valetkey.testing.tls import certificate_for_loopback
from valetkey.token_source import TokenSource
from valetkey.v1 import common_pb2 as common_pb
from valetkey.v1 import errors_pb2 as errors_pb
from valetkey.v1 import identity_service_pb2 as identity_pb
from valetkey.v1 import identity_service_pb2_grpc, token_service_pb2_grpc
from valetkey.v1 import token_service_pb2 as token_pb

Signer = Callable[[token_pb.IssueTokenRequest, datetime, datetime], str]

_API_KEY = "vk_" + "F" * 43
_RENEWED_AT = 0.66
_STREAMS = 64
_NO_END = timedelta(days=365)


class FakeBroker(token_service_pb2_grpc.TokenServiceServicer, identity_service_pb2_grpc.IdentityServiceServicer):
    """Answers with tokens over TLS on a free port of this machine; a context manager.

    `ttl` is how long tokens live that ask for no life of their own; `requests` are those that were let in, in order.
    `refuse` and `allow` say who gets nothing, `stop` and `start` take the broker away and bring it back on the same
    port, `cut` ends streams as a network does, `rotate` brings fresh tokens as a rotation does. `delay` is how many
    seconds each answer takes; `clock_offset` how far its clock is from this machine's;
    `hold_back` keeps what streams say from arriving, as some proxies do. Storage knows its tokens only if
    `sign` makes real ones: it is given the request, the start and the end, and returns a SAS without `?`.
    """

    def __init__(
        self,
        *,
        ttl: timedelta = timedelta(minutes=15),
        account: str = "contoso",
        url: str = "https://{account}.blob.core.windows.net",
        sign: Signer | None = None,
    ) -> None:
        """Makes a broker that does not run yet. `url` is that of the account, with or without `{account}` in it."""
        self.ttl = ttl
        self.delay = 0.0
        self.hold_back = False
        self.clock_offset = timedelta()
        self.requests: list[token_pb.IssueTokenRequest] = []
        self.calls: list[str] = []
        self.api_key = _API_KEY
        self._account = account
        self._url = url.format(account=account)
        self._sign = sign or self._signed_by_nobody
        self._refusals: dict[str, str] = {}
        self._news = threading.Condition()
        self._cuts = self._rotations = self._issued = 0
        self._port = 0
        self._server: grpc.Server | None = None
        self._directory: TemporaryDirectory[str] | None = None

    @property
    def endpoint(self) -> str:
        """Where it is, as HOST:PORT."""
        return f"127.0.0.1:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust."""
        return self._file("ca.pem")

    @property
    def api_key_file(self) -> Path:
        """A file that holds its API key."""
        return self._file("api-key")

    def environ(self) -> dict[str, str]:
        """Returns what to put into the environment for programs to find it."""
        return {
            "VALETKEY_ENDPOINT": self.endpoint,
            "VALETKEY_CA_FILE": str(self.ca_file),
            "VALETKEY_API_KEY_FILE": str(self.api_key_file),
        }

    def client(self, **more: Any) -> Client:
        """Returns a client of it."""
        return Client(self.endpoint, ca_file=self.ca_file, api_key_file=self.api_key_file, **more)

    def token_source(self, resource: str, permissions: Iterable[str] = ("read", "list"), **more: Any) -> TokenSource:
        """Returns a token source of it."""
        known: dict[str, Any] = {"endpoint": self.endpoint, "ca_file": self.ca_file, "api_key_file": self.api_key_file}
        return TokenSource(resource, permissions, **(known | more))

    def start(self) -> None:
        """Serves; again on the same port after `stop`."""
        if self._directory is None:
            self._directory = TemporaryDirectory(prefix="valetkey-fake-")
            pair = certificate_for_loopback()
            self._file("ca.pem").write_bytes(pair[1])
            self._file("api-key").write_text(self.api_key)
            self._pair = pair
        server = grpc.server(ThreadPoolExecutor(_STREAMS, "fake-broker"), options=[("grpc.so_reuseport", 0)])
        token_service_pb2_grpc.add_TokenServiceServicer_to_server(self, server)
        identity_service_pb2_grpc.add_IdentityServiceServicer_to_server(self, server)
        credentials = grpc.ssl_server_credentials([self._pair])
        self._port = server.add_secure_port(f"127.0.0.1:{self._port}", credentials)
        server.start()
        self._server = server

    def stop(self) -> None:
        """Goes away; streams are cut and connections refused."""
        if self._server is not None:
            stopped = self._server.stop(grace=None)
            self.cut()
            stopped.wait()
            self._server = None

    def refuse(self, resource: str = "", message: str = "no grant lets you use it") -> None:
        """Lets nobody have tokens for a resource any more, or for any; streams for it end."""
        self._tell(lambda: self._refusals.update({resource: message}))

    def allow(self) -> None:
        """Takes back every refusal."""
        self._tell(self._refusals.clear)

    def cut(self) -> None:
        """Ends every stream without a word."""
        self._cuts += 1
        self._tell(lambda: None)

    def rotate(self) -> None:
        """Brings a fresh token to every stream at once."""
        self._rotations += 1
        self._tell(lambda: None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if self._directory is not None:
            self._directory.cleanup()

    def IssueToken(  # noqa: N802 (gRPC's naming)
        self, request: token_pb.IssueTokenRequest, context: grpc.ServicerContext
    ) -> token_pb.IssueTokenResponse:
        """Issues one token."""
        self._enter("IssueToken", context, request)
        return self._token(request)

    def WatchToken(  # noqa: N802
        self, request: token_pb.WatchTokenRequest, context: grpc.ServicerContext
    ) -> Iterator[token_pb.WatchTokenResponse]:
        """Issues tokens until it is cut or refused."""
        self._enter("WatchToken", context, request.request)
        context.add_callback(lambda: self._tell(lambda: None))
        heartbeat = request.heartbeat_interval.ToTimedelta().total_seconds() or _NO_END.total_seconds()
        cuts = self._cuts
        if self.hold_back:
            while context.is_active() and cuts == self._cuts:
                self._rest(heartbeat)
            return
        while True:
            token, rotations = self._token(request.request), self._rotations
            yield token_pb.WatchTokenResponse(token=token)
            due = time.monotonic() + self._life(request.request).total_seconds() * _RENEWED_AT
            while time.monotonic() < due and rotations == self._rotations:
                heard = self._rest(min(heartbeat, max(due - time.monotonic(), 0)))
                if cuts != self._cuts or not context.is_active():
                    return
                if message := self._refusal(request.request.resource_id):
                    ended = token_pb.WatchEnd(reason=token_pb.WATCH_END_REASON_GRANT_GONE, message=message)
                    yield token_pb.WatchTokenResponse(end=ended)
                    return
                if not heard and time.monotonic() < due:
                    yield token_pb.WatchTokenResponse(heartbeat=token_pb.Heartbeat())

    def WhoAmI(  # noqa: N802
        self, request: identity_pb.WhoAmIRequest, context: grpc.ServicerContext
    ) -> identity_pb.WhoAmIResponse:
        """Says who calls."""
        _ = request
        self._enter("WhoAmI", context, None)
        return identity_pb.WhoAmIResponse(principal="key:fake", authentication=identity_pb.AUTHENTICATION_API_KEY)

    def _file(self, name: str) -> Path:
        if self._directory is None:
            raise RuntimeError("this FakeBroker does not run; expected it as a context manager")
        return Path(self._directory.name) / name

    def _rest(self, seconds: float) -> bool:
        with self._news:
            return self._news.wait(seconds)

    def _tell(self, change: Callable[[], object]) -> None:
        with self._news:
            change()
            self._news.notify_all()

    def _enter(self, method: str, context: grpc.ServicerContext, request: token_pb.IssueTokenRequest | None) -> None:
        self.calls.append(method)
        time.sleep(self.delay)
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {self.api_key}":
            unknown = errors_pb.ERROR_REASON_CREDENTIALS_INVALID
            self._abort(context, grpc.StatusCode.UNAUTHENTICATED, "the API key is unknown or revoked", unknown)
        if request is not None:
            if message := self._refusal(request.resource_id):
                denied = errors_pb.ERROR_REASON_RESOURCE_DENIED
                self._abort(context, grpc.StatusCode.PERMISSION_DENIED, message, denied)
            if common_pb.PERMISSION_LIST in request.permissions and _is_blob(request.resource_id):
                blob, unsupported = request.resource_id, errors_pb.ERROR_REASON_SCOPE_UNSUPPORTED
                message = f"list is a permission on containers and directories, and {blob} is one blob"
                self._abort(context, grpc.StatusCode.FAILED_PRECONDITION, message, unsupported)
            self.requests.append(request)

    def _refusal(self, resource: str) -> str:
        return self._refusals.get(resource) or self._refusals.get("", "")

    def _abort(self, context: grpc.ServicerContext, code: grpc.StatusCode, message: str, reason: int) -> None:
        status = errors_pb.ErrorStatus(code=code.value[0], message=message)
        detail = errors_pb.ErrorDetail(reason=errors_pb.ErrorReason.ValueType(reason), request_id="fake-request")
        status.details.add().Pack(detail)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)

    def _life(self, request: token_pb.IssueTokenRequest) -> timedelta:
        return request.ttl.ToTimedelta() if request.HasField("ttl") else self.ttl

    def _token(self, request: token_pb.IssueTokenRequest) -> token_pb.IssueTokenResponse:
        now = datetime.now(UTC) + self.clock_offset
        start, end = now - timedelta(minutes=15), now + self._life(request)
        self._issued += 1
        name, _, path = request.resource_id.removeprefix("az://").partition("/")
        answer = token_pb.IssueTokenResponse(
            lease_id=f"fake-lease-{self._issued}",
            sas_token=self._sign(request, start, end),
            resource=common_pb.Resource(
                resource_type=common_pb.RESOURCE_TYPE_BLOB_CONTAINER,
                resource_id=f"az://{name}/{path}".rstrip("/"),
                account=self._account,
                url=f"{self._url}/{name}/{path}".rstrip("/"),
            ),
            permissions=request.permissions,
            connector="fake",
            grant="fake",
            credential_version=self._rotations + 1,
        )
        answer.start_time.FromDatetime(start)
        answer.expire_time.FromDatetime(end)
        answer.answer_time.FromDatetime(now)
        return answer

    def _signed_by_nobody(self, request: token_pb.IssueTokenRequest, start: datetime, end: datetime) -> str:
        _ = request
        return f"sv=2025-07-05&st={start:%Y-%m-%dT%H:%M:%SZ}&se={end:%Y-%m-%dT%H:%M:%SZ}&sr=c&sig=fake{self._issued}"


def _is_blob(resource: str) -> bool:
    scheme, _, rest = resource.partition("://")
    path = rest.partition("/")[2]
    return scheme == "az" and bool(path) and not path.endswith("/")
