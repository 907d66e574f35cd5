"""Secrets out of files, standard input and the environment, cleaned the same way everywhere."""

from pathlib import Path

from valetkey.errors import SettingsError

# Far above any secret; keeps a wrong path such as a device from being read without end.
MAX_BYTES = 64 * 1024


def read_secret_file(path: Path, what: str) -> tuple[str, bool]:
    """Returns the secret in a file and whether line breaks were cut off its end.

    `what` names the secret in errors. Raises SettingsError where the file is missing, a directory, not
    readable, empty, or holds anything but one line of text.
    """
    return clean_secret(read_bytes(path, what), what, f"file {path}")


def read_bytes(path: Path, what: str, limit: int = MAX_BYTES) -> bytes:
    """Returns what a file holds, at most one byte over `limit` of it.

    `what` names the secret in errors. Raises SettingsError where the file is missing, a directory, or not readable.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except FileNotFoundError:
        raise SettingsError(f"{what}: there is no file {path}; expected a file that holds nothing else") from None
    except IsADirectoryError:
        raise SettingsError(f"{what}: {path} is a directory; expected a file that holds nothing else") from None
    except OSError as error:
        raise SettingsError(f"{what}: {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SettingsError(f"{what}: {str(path)!r} is not a path") from None


def clean_secret(data: bytes, what: str, source: str) -> tuple[str, bool]:
    """Returns the secret in `data` and whether line breaks were cut off its end.

    Raises SettingsError, without showing the secret, where it is empty, too long, not text, or several lines.
    """
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{what}: {source} holds over {MAX_BYTES} bytes; expected one line with the secret alone")
    try:
        text = data.decode("utf-8-sig")  # an editor's byte order mark is no part of a secret
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {source} is not text; expected one line of UTF-8") from None
    secret = text.rstrip("\r\n")
    if not secret.strip():
        raise SettingsError(f"{what}: {source} is empty; expected one line with the secret")
    if any(ord(character) < 32 or ord(character) == 127 for character in secret):  # noqa: PLR2004 (ASCII's controls)
        raise SettingsError(
            f"{what}: {source} holds control characters or several lines; expected one line with the secret alone"
        )
    return secret, secret != text


def clean_text(data: bytes, what: str, source: str) -> str:
    """Returns a secret of several lines, such as a certificate in PEM form.

    Raises SettingsError, without showing the secret, where it is empty, too long, or not text.
    """
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{what}: {source} holds over {MAX_BYTES} bytes; expected the secret alone")
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{what}: {source} is not text; expected UTF-8") from None
    if not text:
        raise SettingsError(f"{what}: {source} is empty; expected the secret")
    if any((ord(character) < 32 and character not in "\r\n\t") or ord(character) == 127 for character in text):  # noqa: PLR2004 (ASCII's controls)
        raise SettingsError(f"{what}: {source} holds control characters; expected the secret alone")
    return text
