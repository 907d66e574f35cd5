"""What the proxy itself says no with, in storage's own form, so that tools show it."""

from xml.sax.saxutils import escape

from aiohttp import web


class Refusal(Exception):  # noqa: N818 (it is the answer, and no failure of the proxy)
    """A request that is not sent on. `status` and `code` are such as storage has; `message` holds no secret."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def answer(self) -> web.Response:
        """Returns it as storage would put it."""
        return web.Response(
            status=self.status,
            body=b"" if self.status in (204, 304) else self._body(),
            headers={"Content-Type": "application/xml", "x-ms-error-code": self.code, "Server": "valetkey-proxy"},
        )

    def _body(self) -> bytes:
        return (
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<Error><Code>{self.code}</Code><Message>{escape(self.message)} (valetkey proxy)</Message></Error>"
        ).encode()
