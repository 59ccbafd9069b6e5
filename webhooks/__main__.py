"""``python -m webhooks [--workers N]``: the web app under uvicorn. Exit status 2 with one line when it cannot start."""

import argparse
import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette

from payments.env_file import is_read_once
from payments.errors import RepasseError, SettingsError
from payments.operator.processes import refuse_other_hosts
from payments.settings import Settings, load_settings
from payments.storage.database import open_database
from payments.storage.migrate import migrate


def main() -> int:
    """``python -m webhooks``: serve, with the arguments of the command line."""
    return serve(_parse().workers)


def serve(workers: int | None) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean end. ``workers``: None for the setting's."""
    try:
        settings = load_settings()
        workers = workers or settings.web_workers
        if workers > 1 and is_read_once():
            raise SettingsError(
                ".env is a pipe, which one process can read: make it a file, or put WEB_WORKERS=1"
            )
        _check_port(settings)
        database = open_database(settings.database_url.get_secret_value())
        migrate(database)
        refuse_other_hosts(database, socket.gethostname(), datetime.now(UTC))
        database.close()
    except RepasseError as error:
        print(f"repasse: {error}", file=sys.stderr)
        return 2
    # uvicorn ends by raising the signal that ended it once more; this makes it a clean exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    with _metrics_folder(workers):
        uvicorn.run(
            "webhooks.__main__:create_served_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=workers,
            log_config=None,  # our own, see payments.observability.logging
            access_log=False,  # every delivery has its own line already
            server_header=False,
            # the bank's own patience is unknown; a commit takes milliseconds, so this is only for the stuck
            timeout_graceful_shutdown=20,
        )
    return 0


def create_served_app() -> Starlette:
    """What uvicorn calls in each process that serves."""
    from webhooks.app import create_app  # here: a wrong setting is reported before half a second of imports

    try:
        return create_app()
    except RepasseError as error:  # the database went away since main() looked
        print(f"repasse: {error}", file=sys.stderr)
        sys.exit(2)


@contextmanager
def _metrics_folder(workers: int) -> Iterator[None]:
    """Where several workers write what they count, so that each can answer for all; removed at the end.

    prometheus_client reads the variable when it is imported, which each worker does for itself. Counts of a worker that
    died stay, as they must; its gauges would not, but there are none: gauges are read from the database.
    """
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # a folder of others' would be counted too
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="repasse-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m webhooks", description="Receive Stark Bank's events and forward what was credited."
    )
    parser.add_argument("--workers", type=_positive, help="how many processes (default: WEB_WORKERS, or 1)")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 64")
    return int(text)


def _check_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SettingsError(
                    f"PORT: {settings.port} on {settings.host} is in use by another program; "
                    "stop it, or put another port"
                ) from None
            raise SettingsError(
                f"HOST/PORT: cannot listen on {settings.host}:{settings.port} ({error.strerror}); put another"
            ) from None


if __name__ == "__main__":
    sys.exit(main())
