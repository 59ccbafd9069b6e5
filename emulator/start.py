"""Starts the bank: opens its files and ports, prints what an app needs to know, and serves until SIGTERM or Ctrl-C.

Anything wrong at the start ends the process with one line on stderr and exit status 2. A private key is never
printed.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from emulator.app import create_app
from emulator.behaviour import populate
from emulator.behaviour.bank import Bank
from emulator.behaviour.faults import PACKS
from emulator.books.preset import PRESETS, Preset, preset
from emulator.books.refusal import Refusal
from emulator.clock import ScaledClock
from emulator.command_line import PROGRAM, stop
from emulator.management import state
from emulator.management.guard import is_loopback
from emulator.options import read_options
from emulator.protocol.credentials import Credentials, open_folder
from emulator.protocol.deliveries import Deliveries
from emulator.protocol.keys import BadKeyFile
from emulator.protocol.sandbox_key import SANDBOX_KEY
from emulator.proxy import sdk_env
from emulator.proxy.proxy import Proxy
from emulator.server import serve


def start(arguments: list[str]) -> None:
    """Run the emulator with these switches until it is stopped."""
    options = read_options(arguments)
    is_open = options.host != "localhost" and not is_loopback(options.host)
    if is_open and not options.listen_anywhere:
        stop(f"--host {options.host} is not a loopback address: add --listen-anywhere if that is meant")
    saved = _read_state(options)
    seed = _seed(options, saved)
    settings = _settings(options)
    credentials = _open_credentials(options.data, seed)
    if options.sandbox_key:
        credentials.show_first(SANDBOX_KEY)
    listener = _listen(options.host, options.port)
    url = _url(_reachable(options.host), listener)
    proxy, announcement = _open_proxy(options, credentials, listener)
    environment = _write_environment(options, credentials, url)
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    clock = ScaledClock(options.speed or 1.0)
    bank = _open_bank(options, seed, settings, saved, credentials, clock)
    print(environment, flush=True)
    print(f"# page on {url}/emulator/", flush=True)
    print(f"# seed {seed}, speed {clock.speed:g}{_about_state(options, saved)}", flush=True)

    @asynccontextmanager
    async def serving(deliveries: Deliveries) -> AsyncIterator[None]:
        if proxy is not None:
            await proxy.open()
        # The socket listens already: whoever calls from now on is answered.
        print(f"{announcement}emulator ready on {url}", flush=True)
        yield
        if options.state is not None:
            _write_state(options.state, state.save(bank, clock, credentials, deliveries))
        if proxy is not None:
            await proxy.close()

    serve(create_app(bank, credentials, clock, serving), listener, options.log_level)


# --- the bank -------------------------------------------------------------------------------------------------


def _open_bank(
    options: argparse.Namespace,
    seed: int,
    settings: dict[str, Any],
    saved: Any,
    credentials: Credentials,
    clock: ScaledClock,
) -> Bank:
    """A new bank, a populated one, or the saved one; this start's own switches win over what was saved."""
    bank = Bank(
        seed=seed,
        opened_at=populate.starts_at(clock.now()) if options.populate else clock.now(),
        workspace_id=credentials.project.workspace_id,
        organization_id=credentials.organization.project_id if credentials.organization else "",
        preset=preset(options.preset or "sandbox"),
        opening_balance_centavos=options.opening_balance,
    )
    bank.preset.change(settings)
    if saved is not None:
        state.load(saved, bank, clock, credentials)
        bank.preset.change({**(PRESETS[options.preset] if options.preset else {}), **settings})
        if options.speed is not None:
            clock.set_pace(options.speed)
    else:
        if options.populate:
            populate.populate(bank, clock.now())
        _switch_faults_on(bank, options)
    if options.paused:
        clock.set_pace(paused=True)
    return bank


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that switches ask for, on top of the preset's."""
    switches = ("paid_share", "invoice_fee_centavos", "requests_per_minute")
    given = {name: getattr(options, name) for name in switches if getattr(options, name) is not None}
    settings = given | dict(options.set)
    try:
        Preset().change(settings)
    except ValueError as error:
        stop(f"argument --set: {error}")
    return settings


def _switch_faults_on(bank: Bank, options: argparse.Namespace) -> None:
    """The faults of the preset and of the switches. A saved state has its own, so this is for a new bank."""
    packs = ["magic_amounts"] if options.magic_amounts else []
    if options.preset in PACKS:
        packs.append(options.preset)
    try:
        for request in [*({"name": name} for name in packs), *options.fault]:
            bank.faults.add(request)
    except Refusal as refusal:
        stop(f"argument --fault: {refusal.words}")


# --- state ----------------------------------------------------------------------------------------------------


def _read_state(options: argparse.Namespace) -> Any:
    """The saved state to continue from; None when there is none yet."""
    path: Path | None = options.state
    if path is None:
        return None
    if not os.path.exists(path):
        if not os.access(path.parent, os.W_OK | os.X_OK):
            stop(f"cannot write {path}: its folder is missing or not writable; choose another --state")
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


def _seed(options: argparse.Namespace, saved: Any) -> int:
    if saved is not None:
        return state.seed_of(saved)
    seed: int = secrets.randbelow(2**32) if options.seed is None else options.seed
    return seed


# --- files and ports ------------------------------------------------------------------------------------------


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
        # With the protocol named, asyncio turns Nagle's delay off; it costs 40 ms a request otherwise.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        stop(f"cannot listen on {host}:{port}: {error.strerror}; choose another {switch} (0: any free)")
    return listener


def _open_proxy(
    options: argparse.Namespace, credentials: Credentials, listener: socket.socket
) -> tuple[Proxy | None, str]:
    """The proxy with the ports that were asked for, the file that points SDKs at it, and the lines that say so."""
    host = _reachable(options.host)
    said: list[str] = []
    proxy_socket = tls_socket = proxy_url = None
    if options.proxy_port is not None:
        proxy_socket = _listen(options.host, options.proxy_port, "--proxy-port")
        proxy_url = _url(host, proxy_socket)
        said.append(f"# HTTPS proxy for SDKs on {proxy_url}")
    if options.tls_port is not None:
        tls_socket = _listen(options.host, options.tls_port, "--tls-port")
        said.append(f"# TLS for the bank's host names on {_url(host, tls_socket, 'https')}")
    if not said:
        return None, ""
    target = (host, listener.getsockname()[1])
    passes_others: bool = options.pass_other_hosts
    try:
        proxy = Proxy(
            options.data, target, datetime.now(UTC), proxy_socket, tls_socket, passes_others=passes_others
        )
        env_file = sdk_env.write_sdk_env(
            options.data, credentials, proxy_url, proxy.authority_path, passes_others=passes_others
        )
    except BadKeyFile as error:
        stop(str(error))
    except OSError as error:
        stop(f"cannot write to {options.data}: {error.strerror}; choose another --data or mend its rights")
    said[-1] += f"; source {env_file}, or {PROGRAM} run -- COMMAND\n"
    return proxy, "\n".join(said)


def _write_environment(options: argparse.Namespace, credentials: Credentials, url: str) -> str:
    """Write what an app needs to know; returns it, with where it was written."""
    project = credentials.project
    key = f"STARKBANK_PRIVATE_KEY_PATH={_quoted(str(project.private_key_path))}\n"
    if project.private_key_path is None:
        key = "# the private key of this project is not here: only its owner has it\n"
    text = (
        "STARKBANK_ENVIRONMENT=sandbox\n"
        f"STARKBANK_PROJECT_ID={project.project_id}\n"
        f"{key}"
        f"STARKBANK_API_URL={url}\n"
    )
    path: Path = options.env_file or options.data / "app.env"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        stop(f"cannot write {path}: {error.strerror}; choose another --env-file")
    return f"{text}# written to {path}"


def _quoted(text: str) -> str:
    """A value as shells and readers of .env files take it whole: blanks and # too, where there are any."""
    if re.fullmatch(r"[\w@%+=:,./-]+", text):
        return text
    if "'" not in text:
        return f"'{text}'"
    return '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'


def _url(host: str, listener: socket.socket, scheme: str = "http") -> str:
    port = listener.getsockname()[1]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _reachable(host: str) -> str:
    """The address by which this machine reaches a listener; one on all addresses is reached by loopback."""
    return host if host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
