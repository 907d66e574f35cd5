"""What file systems of fsspec do, and `valetkey.fsspec` refuses, since it could not keep what it promises."""

from typing import Any, NoReturn

_NO_TRANSACTIONS = "storage has no transactions; expected to write under another name, and to mv that when it is whole"


class Refusals:
    """Raises at once, before a request is made."""

    def url(self, path: str, expires: int = 3600, **_: Any) -> NoReturn:
        """Raises NotImplementedError: only who has an account's key can sign a URL."""
        raise NotImplementedError(
            f"a token cannot sign a URL for {path}; expected a token of its own: valetkey token issue -o url"
        )

    def sign(self, path: str, expiration: int = 100, **_: Any) -> NoReturn:
        """Raises NotImplementedError, as `url` does."""
        self.url(path, expiration)

    @property
    def transaction(self) -> NoReturn:
        """Raises NotImplementedError: adlfs takes transactions, and writes each blob at once all the same."""
        raise NotImplementedError(_NO_TRANSACTIONS)

    def start_transaction(self) -> NoReturn:
        """Raises NotImplementedError, as `transaction` does."""
        raise NotImplementedError(_NO_TRANSACTIONS)
