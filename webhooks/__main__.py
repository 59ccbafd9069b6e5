"""``python -m webhooks [--workers N]``: the web app under uvicorn. Exit status 2 with one line when it cannot start."""

import argparse
import errno
import gc
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from payments.env_file import is_read_once
from payments.errors import RepasseError, SettingsError
from payments.observability.streams import complain, open_standard_streams
from payments.operator.processes import refuse_other_hosts
from payments.settings import Settings, load_settings
from payments.storage.database import open_database
from payments.storage.migrate import migrate

# Proxies keep idle connections to us, and would send the next event into one that we have just closed: nginx and an AWS
# load balancer keep them for 60 s, Caddy for 120 s. So ours live longer. (Google's balancers keep theirs for 600 s:
# there, let the proxy of deploy.md stand in between.)
KEEP_ALIVE_SECONDS = 125

# Far more than any of our limits add up to; systems hand out 1,024 unless asked.
OPEN_FILES = 65_536


def main() -> int:
    """``python -m webhooks``: serve, with the arguments of the command line."""
    return serve(_parse().workers)


def serve(workers: int | None) -> int:
    """Run until SIGTERM or SIGINT; ``workers``: None for the setting's.

    Returns 0 after a clean end, 2 when it cannot start or no process of it can serve.
    """
    open_standard_streams()
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
        data_folder = None if database.is_postgresql else Path(database.url.database or ".").resolve().parent
        database.close()
    except RepasseError as error:
        complain(str(error))
        return 2
    # uvicorn ends by raising the signal that ended it once more; this makes it a clean exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    _allow_open_files()
    options: dict[str, Any] = {
        "app": "webhooks.__main__:create_served_app",
        "factory": True,
        # h11 takes `Upgrade: h2c` for the HTTP/1.1 request that it also is, and strips blanks around a header's value
        # at both ends, as RFC 9110 says; httptools loses the body of the first and keeps the blank of the second.
        "http": "webhooks.connections:Connection",
        "ws": "none",
        "host": settings.host,
        "port": settings.port,
        "workers": workers,
        "log_config": None,  # our own, see payments.observability.logging
        "access_log": False,  # every delivery has its own line already
        "server_header": False,
        "timeout_keep_alive": KEEP_ALIVE_SECONDS,
        # the bank's own patience is unknown; a commit takes milliseconds, so this is only for the stuck
        "timeout_graceful_shutdown": 20,
    }
    if workers == 1:
        os.environ.pop(_METRICS_FOLDER, None)  # a folder of others' would be counted too
        uvicorn.run(**options)
        return 0
    config = uvicorn.Config(**options)
    with _metrics_folder(data_folder, settings.port):
        supervisor = Multiprocess(config, [config.bind_socket()])
        supervisor.run()
        # uvicorn ends it when a process cannot start. That is no clean end: a service manager starts us again.
        return 2 if any(child.exitcode == STARTUP_FAILURE for child in supervisor.processes) else 0


def create_served_app() -> Starlette:
    """What uvicorn calls in each process that serves. It ends when the process that started it has ended."""
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        threading.Thread(target=_end_after, args=(supervisor,), name="supervisor", daemon=True).start()
        # prometheus_client opens files there as soon as it is imported; what cleans up may have taken the folder.
        Path(os.environ[_METRICS_FOLDER]).mkdir(mode=0o700, parents=True, exist_ok=True)
    failed = 2 if supervisor is None else STARTUP_FAILURE
    try:
        from webhooks.app import (
            create_app,
        )  # here: a wrong setting is reported before half a second of imports

        app = create_app()
        # A full collection looks at every object there is, and nothing is answered for the 50 to 150 ms that it takes.
        # So those that stay for good are left out. (docs/performance.md says what it brings.)
        gc.freeze()
        return app
    except RepasseError as error:  # the database went away since main() looked
        complain(str(error))
    except Exception:  # a successor would fail in the same way
        traceback.print_exc()
    sys.exit(failed)


def _end_after(supervisor: "multiprocessing.process.BaseProcess") -> None:
    """End as at Ctrl-C once the supervisor has ended: a process without one would keep the port from the next start."""
    supervisor.join()
    os.kill(os.getpid(), signal.SIGINT)


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # a sandbox may forbid it
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


# prometheus_client reads it when it is imported, which each process does for itself.
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def _metrics_folder(data_folder: Path | None, port: int) -> Iterator[None]:
    """Where several processes write what they count, so that each can answer for all; removed at the end.

    Counts of a process that died stay, as they must; its gauges would not, but there are none: gauges are read from the
    database. Beside a SQLite file, where nothing cleans up after ten days as it does in /tmp.
    """
    if data_folder is None:
        folder = Path(tempfile.mkdtemp(prefix="repasse-metrics-"))
    else:
        folder = data_folder / f"metrics-{port}"
        shutil.rmtree(folder, ignore_errors=True)  # of one that was killed; the port is ours now
        folder.mkdir(mode=0o700)
    os.environ[_METRICS_FOLDER] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
