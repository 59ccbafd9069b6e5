"""The worker's own ``/metrics`` on METRICS_PORT: prometheus_client's WSGI app, behind the operators' tokens."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from payments.authorization import Account, account_in
from payments.errors import SettingsError

# A scraper sends a request line and some headers, and is given up when that takes longer.
REQUEST_SECONDS_MAX = 10.0


# A scraper asks once in some seconds. Each request has a thread, and a stranger may send its bytes one by one.
REQUESTS_MAX = 16


class MetricsPage:
    """Serves ``registry`` in threads of its own. Raises SettingsError when it cannot listen."""

    def __init__(
        self, host: str, port: int, accounts: Sequence[Account], registry: CollectorRegistry
    ) -> None:
        page = make_wsgi_app(registry)

        def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if account_in(environ.get("HTTP_AUTHORIZATION", ""), accounts):
                answer: Iterable[bytes] = page(environ, start_response)
                return answer
            headers = [("WWW-Authenticate", 'Basic realm="repasse"'), ("Content-Type", "text/plain")]
            start_response("401 Unauthorized", headers)
            return [b"the operator's token is needed"]

        try:
            self._server = make_server(host, port, guarded, _Server, _Handler)
        except OSError as error:
            raise SettingsError(
                f"METRICS_PORT: cannot listen on {host}:{port} ({error.strerror}); put another port"
            ) from None
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingWSGIServer):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._free = threading.BoundedSemaphore(REQUESTS_MAX)
        super().__init__(*arguments, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the request a thread; close it when there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread of one request."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS_MAX

    def log_message(self, format: str, *args: object) -> None:
        """Log no line for each scrape."""
