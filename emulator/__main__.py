"""`python -m emulator`: a Stark Bank on this machine, or one command for one that runs.

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
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from emulator.app import create_app
from emulator.behaviour import populate
from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import PACKS
from emulator.books.preset import PRESETS, Preset, preset
from emulator.clock import ScaledClock
from emulator.management import commands, state
from emulator.options import read_switches, stop
from emulator.protocol.credentials import Credentials, open_folder
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.keys import BadKeyFile
from emulator.protocol.sandbox_key import SANDBOX_KEY
from emulator.proxy import sdk_env
from emulator.proxy.proxy import Proxy


def main(arguments: list[str] | None = None) -> int:
    """Run the emulator, or one command for a running one; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and commands.is_command(words[0]):
        return commands.main(words)
    options = read_switches(words)
    host: str = options.host
    if not options.listen_anywhere and not _is_loopback(host):
        stop(f"--host {host} is not a loopback address: add --listen-anywhere if that is meant")
    saved = _read_state(options)
    if saved is None:
        seed: int = secrets.randbelow(2**32) if options.seed is None else options.seed
    else:
        seed = state.seed_of(saved)
    habits = _habits(options)
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
        stop(f"cannot write {env_file}: {error.strerror}; choose another --env-file")
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    clock = ScaledClock(options.speed or 1.0)
    bank = Bank(
        seed=seed,
        opened_at=populate.starts_at(clock.now()) if options.populate else clock.now(),
        workspace_id=credentials.project.workspace_id,
        organization_id=credentials.organization.project_id if credentials.organization else "",
        preset=preset(options.preset or "sandbox"),
        opening_balance_centavos=options.opening_balance,
    )
    bank.preset.change(habits)
    if saved is not None:
        state.load(saved, bank, clock, credentials)
        # What this start asks for wins over what was saved.
        bank.preset.change({**(PRESETS[options.preset] if options.preset else {}), **habits})
        if options.speed is not None:
            clock.set_pace(options.speed)
    elif options.populate:
        populate.populate(bank, clock.now())
    _switch_on(bank, options, is_new=saved is None)
    if options.paused:
        clock.set_pace(paused=True)
    if options.sandbox_key:
        credentials.show_first(SANDBOX_KEY)
    print(environment, end="")
    print(
        f"# written to {env_file}; seed {seed}, speed {clock.speed:g}{_about_state(options, saved)}",
        flush=True,
    )

    def on_stop(posts: Deliveries) -> None:
        if options.state is not None:
            _write_state(options.state, state.save(bank, clock, credentials, posts))

    config = uvicorn.Config(
        create_app(bank, credentials, clock, on_stop),
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


def _habits(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that switches ask for, over those of the preset."""
    given = {
        "paid_share": options.paid_share,
        "invoice_fee_centavos": options.fee,
        "requests_per_minute": options.rate_limit,
    }
    habits = {name: value for name, value in given.items() if value is not None} | dict(options.set)
    try:
        Preset().change(habits)
    except ValueError as error:
        stop(f"argument --set: {error}")
    return habits


def _switch_on(bank: Bank, options: argparse.Namespace, *, is_new: bool) -> None:
    """The faults of the preset and of the switches; a saved state brings those of its preset itself."""
    packs = ["magic_amounts"] if options.magic_amounts and is_new else []
    if options.preset in PACKS and is_new:
        packs.append(options.preset)
    for name in packs:
        bank.faults.add_pack(name)
    for fault in options.fault if is_new else []:
        try:
            if fault["name"] in PACKS and len(fault) == 1:
                bank.faults.add_pack(fault["name"])
            else:
                bank.faults.add(fault)
        except ValueError as error:
            stop(f"argument --fault: {error}")


def _read_state(options: argparse.Namespace) -> Any:
    """The state to go on from; None when there is none yet."""
    path: Path | None = options.state
    if path is None:
        return None
    if not os.path.exists(path):
        if not os.access(path.parent, os.W_OK | os.X_OK):
            stop(f"cannot write {path}: its folder is missing or may not be written; choose another --state")
        return None
    try:
        saved = state.read(path)
    except state.BadState as error:
        stop(f"{error}; mend or remove the file, or choose another --state")
    if options.seed not in (None, state.seed_of(saved)):
        stop(f"{path} has the seed {state.seed_of(saved)}: leave --seed out, or choose another --state")
    return saved


def _write_state(path: Path, saved: dict[str, Any]) -> None:
    try:
        state.write(path, saved)
    except OSError as error:
        logging.getLogger("emulator").error("the state is lost: cannot write %s: %s", path, error.strerror)


def _about_state(options: argparse.Namespace, saved: Any) -> str:
    if options.state is None:
        return ""
    return f", state {'from' if saved is not None else 'to be written to'} {options.state}"


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
        proxy = Proxy(options.data, (target, port), datetime.now(UTC))
        listener = _listen(options.host, options.proxy_port, "--proxy-port")
        shown = f"[{target}]" if ":" in target else target
        url = f"http://{shown}:{listener.getsockname()[1]}"
        env_file = sdk_env.write_sdk_env(options.data, credentials, url, proxy.authority_path)
    except BadKeyFile as error:
        stop(str(error))
    except OSError as error:
        stop(f"cannot write to {options.data}: {error.strerror}; choose another --data or mend its rights")
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_credentials(folder: Path, seed: int) -> Credentials:
    try:
        return open_folder(folder, seed)
    except BadKeyFile as error:
        stop(str(error))
    except OSError as error:
        stop(
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
        stop(f"cannot listen on {host}:{port}: {error.strerror}; choose another {switch} (0: any free)")
    return listener


def _environment(credentials: Credentials, url: str) -> str:
    project = credentials.project
    key = f"STARKBANK_PRIVATE_KEY_PATH={project.private_key_path}\n"
    if project.private_key_path is None:
        key = "# the private key of this project is not here: only its owner has it\n"
    return (
        "STARKBANK_ENVIRONMENT=sandbox\n"
        f"STARKBANK_PROJECT_ID={project.project_id}\n"
        f"{key}"
        f"STARKBANK_API_URL={url}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
