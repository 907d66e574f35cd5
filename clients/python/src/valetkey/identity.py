"""Who is asking: an API key, a token in a file, a client certificate, or a log-in; one of them."""

import contextlib
import hashlib
import os
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from valetkey.absolute_paths import from_the_root
from valetkey.certificate_validity import validity
from valetkey.errors import SettingsError, ValetKeyError
from valetkey.secret_files import read_secret_file
from valetkey.trace_context import with_trace

# What a header of HTTP/2 carries unharmed; both API keys and JWTs are made of it.
_BEARER = re.compile(r"[\x21-\x7e]+")
IDENTITY_FILES = ("api_key_file", "token_file", "client_cert_file", "client_key_file", "login_file")
"""Which arguments of an identity are files."""


class CallerFingerprint(NamedTuple):
    """A digest of what a caller shows, and whose a token says that it is, which nobody has checked; else None."""

    shown: bytes
    named: str | None = None


class Metadata(tuple[tuple[str, str], ...]):
    """Names and values that go along with a call. Tracebacks that show local variables do not show them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} names and values, not shown>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One identity of one kind; its repr shows no API key."""

    api_key: str | None = field(default=None, repr=False)
    api_key_file: Path | None = None
    token_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    # What `valetkey login` wrote; its token is renewed where it is due.
    login_file: Path | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError for none, for several kinds, half a certificate, and an API key that cannot be sent."""
        certificate = self.client_cert_file is not None or self.client_key_file is not None
        given = [
            name
            for name, there in (
                ("an API key", self.api_key is not None),
                ("an API key's file", self.api_key_file is not None),
                ("a token file", self.token_file is not None),
                ("a client certificate", certificate),
                ("a log-in", self.login_file is not None),
            )
            if there
        ]
        if len(given) != 1:
            raise SettingsError(
                f"identity: {' and '.join(given) or 'nothing'} given; "
                "expected exactly one of an API key, a token file, a client certificate with its key, or a log-in"
            )
        if certificate and (self.client_cert_file is None or self.client_key_file is None):
            missing = "certificate" if self.client_cert_file is None else "key"
            raise SettingsError(
                f"client certificate: its {missing} file is not given; "
                "expected both, the certificate's and the key's, in the same place"
            )
        if self.api_key is not None:
            _check_api_key(self.api_key, "is empty or holds spaces, line breaks or other than ASCII")
        for name in IDENTITY_FILES:
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, from_the_root(path))

    @classmethod
    def of(
        cls,
        *,
        api_key: str | None = None,
        api_key_file: str | os.PathLike[str] | None = None,
        token_file: str | os.PathLike[str] | None = None,
        client_cert_file: str | os.PathLike[str] | None = None,
        client_key_file: str | os.PathLike[str] | None = None,
        login_file: str | os.PathLike[str] | None = None,
    ) -> "Identity":
        """Returns the identity that a client's arguments make; an empty path is none."""
        return cls(
            api_key=api_key,
            api_key_file=Path(api_key_file) if api_key_file else None,
            token_file=Path(token_file) if token_file else None,
            client_cert_file=Path(client_cert_file) if client_cert_file else None,
            client_key_file=Path(client_key_file) if client_key_file else None,
            login_file=Path(login_file) if login_file else None,
        )

    def __str__(self) -> str:
        """Says who asks without a secret, and otherwise for each identity."""
        if self.api_key is not None:
            return f"the API key with the SHA-256 {hashlib.sha256(self.api_key.encode()).hexdigest()[:12]}…"
        if self.login_file is not None:
            return f"the log-in in {self.login_file}"
        what, path = (
            ("API key", self.api_key_file)
            if self.api_key_file
            else ("token", self.token_file)
            if self.token_file
            else ("certificate", self.client_cert_file)
        )
        return f"the {what} in {path}"

    def arguments(self) -> dict[str, Any]:
        """Returns the identity as the arguments that `Client` takes."""
        return {
            "api_key": self.api_key,
            "api_key_file": self.api_key_file,
            "token_file": self.token_file,
            "client_cert_file": self.client_cert_file,
            "client_key_file": self.client_key_file,
            "login_file": self.login_file,
        }

    def key_pair(self) -> tuple[bytes, bytes] | None:
        """Returns the client's certificate chain and private key in PEM form, None for the other kinds.

        Raises SettingsError where a file cannot be read, or the two are no unencrypted key and its certificate.
        """
        if self.client_cert_file is None or self.client_key_file is None:
            return None
        pair = self._read_pair(self.client_cert_file, self.client_key_file)
        try:
            # The password keeps OpenSSL from asking for one at the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(
                self.client_cert_file, self.client_key_file, password=""
            )
            fits = True
        except (OSError, ValueError):
            fits = False
        # Read again, for OpenSSL reads for itself and the files may have been replaced in between.
        if not fits or pair != self._read_pair(self.client_cert_file, self.client_key_file):
            raise SettingsError(
                f"client certificate: {self.client_cert_file} and {self.client_key_file} are not a certificate "
                "and its key; expected both in PEM form, the key without a password"
            )
        return pair

    @staticmethod
    def _read_pair(certificate: Path, key: Path) -> tuple[bytes, bytes]:
        pems = []
        for path in (certificate, key):
            try:
                pems.append(path.read_bytes())
            except OSError as error:
                raise SettingsError(f"client certificate: {path} cannot be read: {error.strerror}") from None
            except ValueError:
                raise SettingsError(f"client certificate: {str(path)!r} is not a path") from None
        return pems[0], pems[1]

    def connection_files(self) -> tuple[Path, ...]:
        """Returns the files whose content goes with a connection: the client certificate's and its key's."""
        return tuple(path for path in (self.client_cert_file, self.client_key_file) if path)

    def fingerprint(self) -> bytes | None:
        """Returns what tells a renewed key, token or certificate from the one before, None without a file.

        A log-in is renewed first, where that is due, which asks its issuer.
        """
        if self.login_file is not None:
            with contextlib.suppress(ValetKeyError):
                return hashlib.sha256(self.login_token().encode()).digest()
            return None
        path = self.token_file or self.api_key_file or self.client_cert_file
        try:
            return hashlib.sha256(path.read_bytes()).digest() if path else None
        except (OSError, ValueError):
            return None

    def caller_fingerprint(self) -> "CallerFingerprint | None":
        """Returns what tells the caller in a file from another one there, None where none can be read.

        Unlike `fingerprint`, asks nobody, and a log-in is the same one however often its token was renewed. Another
        key, token or certificate counts as another caller, for only the broker knows whose it is.
        """
        named = None
        try:
            if self.login_file is not None:
                from valetkey.login.whose import log_in_of  # noqa: PLC0415 (most callers have no log-in)

                shown = log_in_of(self.login_file)
            elif self.token_file is not None:
                from valetkey.unchecked_claims import caller_named_in  # noqa: PLC0415 (json; keys need not wait for it)

                token = read_secret_file(self.token_file, "token")[0]
                shown, named = token.encode(), caller_named_in(token)
            else:
                paths = (self.api_key_file, self.client_cert_file, self.client_key_file)
                shown = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths if path)
        except (OSError, ValueError, SettingsError):
            return None
        return CallerFingerprint(hashlib.sha256(shown).digest(), named) if shown else None

    def is_usable(self) -> bool:
        """Tells whether there is something to show; not so while a file is being written. May ask as `fingerprint`."""
        try:
            self.evidence()
            self.key_pair()
        except ValetKeyError:
            return False
        return True

    def certificate_error(self) -> str:
        """Returns a sentence where the client certificate does not count now by this machine's clock, else nothing."""
        if self.client_cert_file is None:
            return ""
        try:
            start, end = validity(self.client_cert_file.read_bytes())
        except (OSError, ValueError):
            return ""
        what = f"the client certificate in {self.client_cert_file}"
        if end <= datetime.now(UTC):
            return f"{what} expired at {end:%Y-%m-%dT%H:%M:%SZ}; get a new one"
        if start > datetime.now(UTC):
            return f"{what} counts from {start:%Y-%m-%dT%H:%M:%SZ} only; check this machine's clock"
        return ""

    def call_metadata(self) -> Metadata | None:
        """Returns what one call carries: the evidence, and the caller's trace. Raises what `evidence` raises."""
        shown = with_trace(self.evidence())
        return None if shown is None else Metadata(shown)

    def evidence(self) -> Metadata | None:
        """Returns the API key or token that a call carries, from a file as it holds it now, for files rotate.

        None for a client certificate, which goes with the connection. Raises SettingsError where the file cannot be
        read or holds none, and for a log-in what `login_token` raises. Plain metadata and not gRPC's call credentials,
        whose callbacks come in a thread of gRPC's and wait for Python there: a channel that is closed meanwhile can
        wait for them for ever. Nothing is lost by it, for no channel of this client goes without TLS.
        """
        if self.api_key is not None:
            return _bearer(self.api_key)
        if self.login_file is not None:
            return _bearer(self.login_token())
        if self.api_key_file is not None:
            key, _ = read_secret_file(self.api_key_file, "API key")
            _check_api_key(key, f"file {self.api_key_file} holds spaces or other than ASCII")
            return _bearer(key)
        if self.token_file is None:
            return None
        token, _ = read_secret_file(self.token_file, "token")
        if not _BEARER.fullmatch(token):
            raise SettingsError(
                f"token: file {self.token_file} holds spaces or other than ASCII; expected one JWT and nothing else"
            )
        return _bearer(token)

    def login_token(self) -> str:
        """Returns the token of the log-in, renewed where that is due, which asks its issuer for some seconds at most.

        Raises UnauthenticatedError where the log-in is over, UnavailableError where it cannot be renewed for now,
        SettingsError where its file cannot be used.
        """
        from valetkey.login.renewal import current_token  # noqa: PLC0415 (most callers have no log-in)

        if self.login_file is None:
            raise SettingsError("identity: this is no log-in")
        return current_token(self.login_file)


def _bearer(credential: str) -> Metadata:
    return Metadata((("authorization", f"Bearer {credential}"),))


def _check_api_key(key: str, problem: str) -> None:
    if not _BEARER.fullmatch(key):
        raise SettingsError(f"API key: {problem}; expected vk_ and 43 letters, digits, _ or -")
