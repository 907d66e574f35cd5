"""The CAs that a server is verified against, read anew when their file changes."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from valetkey_broker.errors import ConfigurationError
from valetkey_broker.watched_files.watched_files import CHECK_SECONDS, WatchedFiles
from valetkey_broker.watched_files.whole_pem import is_whole_pem


def trusted_cas(
    what: str, setting: str, file: Path | None, *, check_seconds: float = CHECK_SECONDS
) -> WatchedFiles[ssl.SSLContext]:
    """Returns the TLS context for clients that trust the CAs in `file` (PEM), or the system's where it is None.

    Changed CAs make another context: connect anew with that one. `what` and `setting` name the file to people.
    """

    def make(contents: Mapping[str, bytes]) -> ssl.SSLContext:
        if file is None:
            return ssl.create_default_context()
        # Bundles carry the names of their CAs as comments, in any script.
        text = contents[setting].decode("ascii", "ignore")
        try:
            # Python takes the system's CAs for an empty one.
            if text and is_whole_pem(contents[setting]):
                return ssl.create_default_context(cadata=text)
        except ssl.SSLError:
            pass
        raise ConfigurationError(f"{setting}: {file}: holds no CA certificates; expected them as PEM")

    return WatchedFiles(what, {} if file is None else {setting: file}, make, check_seconds=check_seconds)
