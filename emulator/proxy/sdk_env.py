"""The variables that point an unchanged SDK, and its own tests, at this emulator.

Written as a shell file of `NAME='value'` lines with mode 0600, since it holds private keys. `python -m emulator run`
sets them for one command; a shell may source the file. Keys are never printed.
"""

from __future__ import annotations

import shlex
import ssl
from pathlib import Path

from emulator.protocol.credentials import Credentials, Project
from emulator.protocol.keys import write_private

FILE_NAME = "sdk.env"


def write_sdk_env(
    folder: Path,
    credentials: Credentials,
    proxy_url: str | None,
    authority_path: Path,
    *,
    passes_others: bool = False,
) -> Path:
    """Write the file and return its path; without a proxy it holds no proxy variable."""
    trusted_path = _bundle(folder, authority_path) if passes_others else authority_path
    proxy = {} if proxy_url is None else _proxy_variables(proxy_url)
    variables = {
        **proxy,
        # The CA bundle has a different name in Python's requests, in Node, in OpenSSL (Go, Ruby too) and in curl.
        "REQUESTS_CA_BUNDLE": str(trusted_path),
        "NODE_EXTRA_CA_CERTS": str(authority_path),
        "SSL_CERT_FILE": str(trusted_path),
        "CURL_CA_BUNDLE": str(trusted_path),
        # Read: the names that the tests of sdk-python and sdk-node look for (tests/utils/user).
        **_user("SANDBOX", credentials.project),
    }
    if credentials.organization is not None:
        variables |= _user("SANDBOX_ORGANIZATION", credentials.organization)
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    path = folder / FILE_NAME
    write_private(path, text.encode())
    return path.resolve()


def read_sdk_env(path: Path) -> dict[str, str]:
    """The variables of a file that `write_sdk_env` wrote; OSError when there is none."""
    return dict(pair.split("=", 1) for pair in shlex.split(path.read_text()))


def _proxy_variables(proxy_url: str) -> dict[str, str]:
    # Ruby's Net::HTTP reads only the lower-case names, some tools only the upper-case ones.
    given = {"http_proxy": proxy_url, "https_proxy": proxy_url, "no_proxy": "127.0.0.1,localhost"}
    return {**given, **{name.upper(): value for name, value in given.items()}}


def _bundle(folder: Path, authority_path: Path) -> Path:
    """A file with our authority and the public ones, for clients that are let through to other hosts."""
    default = ssl.get_default_verify_paths().cafile
    public = Path(default).read_bytes() if default else b""
    path = folder / "ca-bundle.pem"
    path.write_bytes(authority_path.read_bytes() + public)
    return path.resolve()


def _user(prefix: str, user: Project) -> dict[str, str]:
    key = "" if user.private_key_path is None else user.private_key_path.read_text()
    return {f"{prefix}_ID": user.project_id, f"{prefix}_PRIVATE_KEY": key}
