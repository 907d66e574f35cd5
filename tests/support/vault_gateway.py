"""A gateway before a real OpenBao that may know of none to ask; the proxies of aiohttp beside it take no LIST."""

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from valetkey_devstack.ca import make_ca
from valetkey_devstack.openbao import OpenBao


class Gateway:
    """Hands on what it is asked, over TLS; with `knows_vault` false it says 404 in words of its own."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self.url = url
        self.ca_file = ca_file
        self.knows_vault = True


@contextlib.contextmanager
def gateway_before(bao: OpenBao, directory: Path) -> Iterator[Gateway]:
    """Gives a gateway whose CA is in `directory`."""
    directory.mkdir()
    certificate, key = make_ca(directory).issue("gateway", directory)
    behind, trust = urlsplit(bao.address).netloc, ssl.create_default_context(cafile=str(bao.ca_file))

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if not gateway.knows_vault:
                self._say(404, "text/plain", b"default backend - 404")
                return
            with contextlib.closing(http.client.HTTPSConnection(behind, context=trust)) as to:
                to.request(self.command, self.path, body, {**self.headers, "Host": behind})
                said = to.getresponse()
                self._say(said.status, said.headers.get("Content-Type", "application/json"), said.read())

        def _say(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_LIST = answer  # noqa: N815 (the base class's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        gateway = Gateway(f"https://127.0.0.1:{server.server_address[1]}", directory / "ca.pem")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield gateway
        finally:
            server.shutdown()
            thread.join()
