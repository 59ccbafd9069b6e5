"""The worker's own ``/metrics`` on METRICS_PORT: the same page as the web process's, with the worker's bank calls.

It needs OPERATOR_TOKEN, as there. It serves one small page to one scraper and nothing else.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST

from payments.authorization import carries_token
from payments.errors import SettingsError

# A scraper sends a request line and some headers; whoever is slower is no scraper.
REQUEST_SECONDS_MAX = 10.0


class MetricsPage:
    """Serves in threads of its own. Raises SettingsError when it cannot listen."""

    def __init__(self, host: str, port: int, token: str, render: Callable[[], bytes]) -> None:
        try:
            self._server = _Server((host, port), _handler(token, render))
        except OSError as error:
            raise SettingsError(
                f"METRICS_PORT: cannot listen on {host}:{port} ({error.strerror}); put another port"
            ) from None
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A scraper that hangs up is no news."""


def _handler(token: str, render: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS_MAX
        server_version = "repasse"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self._answer(404, b"not found", "text/plain")
            elif not carries_token(self.headers.get("Authorization", ""), token):
                self._answer(401, b"the operator's token is needed", "text/plain")
            else:
                self._answer(200, render(), CONTENT_TYPE_LATEST)

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="repasse"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A line for every scrape helps nobody."""

    return Handler
