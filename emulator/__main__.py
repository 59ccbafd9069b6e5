"""`python -m emulator`: a Stark Bank on this machine.

Reads the switches, opens the data folder and the port, prints what an app needs to know and serves until
SIGTERM or Ctrl-C. Whatever is wrong at the start ends in one line on stderr and exit status 2; a private key
is never printed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import math
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator import populate, sdk_env
from emulator.app import create_app
from emulator.bank import Bank
from emulator.clock import ScaledClock
from emulator.credentials import Credentials, open_folder
from emulator.keys import BadKeyFile
from emulator.preset import Preset
from emulator.proxy import Proxy
from emulator.sandbox_key import SANDBOX_KEY

LOG_LEVELS = ("debug", "info", "warning", "error")


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator; returns the exit status."""
    options = _parser().parse_args(arguments)
    seed: int = secrets.randbelow(2**32) if options.seed is None else options.seed
    host: str = options.host
    if not options.listen_anywhere and not _is_loopback(host):
        _stop(f"--host {host} is not a loopback address: add --listen-anywhere if that is meant")
    credentials = _open_credentials(options.data, seed)
    listener = _listen(host, options.port)
    port: int = listener.getsockname()[1]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    proxy = _open_proxy(options, credentials, port)
    env_file: Path = options.env_file or options.data / "app.env"
    environment = _environment(credentials, url)
    try:
        env_file.parent.mkdir(parents=True, exist_ok=True)
        env_file.write_text(environment)
    except OSError as error:
        _stop(f"cannot write {env_file}: {error.strerror}; choose another --env-file")
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    clock = ScaledClock(options.speed)
    bank = Bank(
        seed=seed,
        opened_at=populate.starts_at(clock.now()) if options.populate else clock.now(),
        workspace_id=credentials.project.workspace_id,
        organization_id=credentials.organization.project_id if credentials.organization else "",
        preset=Preset(paid_share=options.paid_share, invoice_fee_centavos=options.fee),
        opening_balance_centavos=options.opening_balance,
    )
    if options.populate:
        populate.populate(bank, clock.now())
    if options.sandbox_key:
        credentials.show_first(SANDBOX_KEY)
    print(environment, end="")
    print(f"# written to {env_file}; seed {seed}, speed {options.speed:g}", flush=True)
    config = uvicorn.Config(
        create_app(bank, credentials, clock),
        http=Protocol,
        ws="none",
        log_level=options.log_level if options.log_level != "info" else "warning",
        access_log=False,
        server_header=False,
        # uvicorn's 5 s would cut pooled connections under callers that pause, and look like lost answers.
        timeout_keep_alive=120,
        # Requests that hang on purpose must not keep the process.
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Server(config, url, proxy).serve([listener]))
    return 0


@dataclass(frozen=True)
class OpenProxy:
    """The proxy with its port taken, not yet serving."""

    proxy: Proxy
    listener: socket.socket
    url: str
    env_file: Path


def _open_proxy(options: argparse.Namespace, credentials: Credentials, port: int) -> OpenProxy | None:
    if options.proxy_port is None:
        return None
    # A listener on all addresses is reached by loopback too.
    target = options.host if options.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
    try:
        proxy = Proxy(options.data, (target, port))
        listener = _listen(options.host, options.proxy_port, "--proxy-port")
        shown = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{shown}:{listener.getsockname()[1]}"
        env_file = sdk_env.write_sdk_env(options.data, credentials, url, proxy.authority_path)
    except BadKeyFile as error:
        _stop(str(error))
    except OSError as error:
        _stop(f"cannot write to {options.data}: {error.strerror}; choose another --data or mend its rights")
    return OpenProxy(proxy, listener, url, env_file)


class Server(uvicorn.Server):
    """uvicorn, saying when it is ready and ending with status 0 on a signal."""

    def __init__(self, config: uvicorn.Config, url: str, proxy: OpenProxy | None = None) -> None:
        super().__init__(config)
        self._url = url
        self._proxy = proxy

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            if self._proxy is not None:
                await self._proxy.proxy.open(self._proxy.listener)
                print(f"# HTTPS proxy for SDKs on {self._proxy.url}; source {self._proxy.env_file}")
            print(f"emulator ready on {self._url}", flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._proxy is not None:
            await self._proxy.proxy.close()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own version raises the signal again at the end, and the process would exit with 143.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


class Protocol(HttpToolsProtocol):
    """Lets faults reach the connection, to cut it under an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["emulator.transport"] = self.transport


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m emulator", description="A small Stark Bank on this machine."
    )
    parser.error = lambda message: _stop(f"{message}; see --help")  # type: ignore[method-assign]
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=_port, default=8900, help="port, 0 for a free one (default 8900)")
    add(
        "--data",
        type=Path,
        default=Path("data/emulator"),
        help="folder of keys and project (default data/emulator)",
    )
    add("--env-file", type=Path, help="where to write what an app needs (default <data>/app.env)")
    add("--seed", type=int, help="makes ids and chances repeat (default: different each time)")
    add("--speed", type=_speed, default=1.0, help="emulated seconds per real second (default 1)")
    add("--fee", type=_centavos, default=0, help="centavos taken from each credited invoice (default 0)")
    add(
        "--paid-share",
        type=_share,
        default=0.85,
        help="share of invoices that get paid, 0 to 1 (default 0.85)",
    )
    add(
        "--opening-balance",
        type=_centavos,
        default=0,
        help="centavos in the account at the start (default 0)",
    )
    add(
        "--proxy-port",
        type=_port,
        help="port of an HTTPS proxy for unchanged SDKs, 0 for a free one (default none)",
    )
    add("--populate", action="store_true", help="start with twelve days of rows of every kind")
    add(
        "--sandbox-key",
        action="store_true",
        help="show the real sandbox's public key as the newest: its recorded events verify, ours do not",
    )
    add("--log-level", choices=LOG_LEVELS, default="info", help="how much to log (default info)")
    add("--listen-anywhere", action="store_true", help="allow a --host that the network can reach")
    return parser


def _stop(message: str) -> NoReturn:
    print(f"emulator: {message}", file=sys.stderr)
    raise SystemExit(2)


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _speed(text: str) -> float:
    value = _number(text)
    # A day in less than a tenth of a second is a simulation, not a server.
    if not 0 < value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1000000")
    return value


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _centavos(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 10**14:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of centavos, zero or more")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_credentials(folder: Path, seed: int) -> Credentials:
    try:
        return open_folder(folder, seed)
    except BadKeyFile as error:
        _stop(str(error))
    except OSError as error:
        _stop(
            f"cannot use the data folder {folder}: {error.strerror}; choose another --data or mend its rights"
        )


def _listen(host: str, port: int, switch: str = "--port") -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio switches Nagle's delay off: 40 ms a request otherwise.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        _stop(f"cannot listen on {host}:{port}: {error.strerror}; choose another {switch} (0: any free)")
    return listener


def _environment(credentials: Credentials, url: str) -> str:
    project = credentials.project
    return (
        "STARKBANK_ENVIRONMENT=sandbox\n"
        f"STARKBANK_PROJECT_ID={project.project_id}\n"
        f"STARKBANK_PRIVATE_KEY_PATH={project.private_key_path}\n"
        f"STARKBANK_API_URL={url}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
