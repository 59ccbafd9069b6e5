"""The file that points the official SDKs, and their own tests, at this emulator.

A shell file of `NAME='value'` lines with mode 0600, since it holds private keys: a caller sources it, or reads
it, before it starts a client. Keys are never printed.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from emulator.protocol.credentials import Credentials, Project


def write_sdk_env(folder: Path, credentials: Credentials, proxy_url: str, authority_path: Path) -> Path:
    """Write the file; returns where it is."""
    lines = {
        # Read: requests, Node's axios, Go, Java's curl-like tools and most others look here.
        "HTTPS_PROXY": proxy_url,
        "https_proxy": proxy_url,
        # The CA bundle has a name of its own in each world: Python, Node, and OpenSSL, Go and Ruby.
        "REQUESTS_CA_BUNDLE": str(authority_path),
        "NODE_EXTRA_CA_CERTS": str(authority_path),
        "SSL_CERT_FILE": str(authority_path),
        "CURL_CA_BUNDLE": str(authority_path),
        # Read: the names that sdk-python's and sdk-node's tests look for (tests/utils/user).
        **_user("SANDBOX", credentials.project),
    }
    if credentials.organization is not None:
        lines |= _user("SANDBOX_ORGANIZATION", credentials.organization)
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in lines.items())
    path = folder / "sdk.env"
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    return path.resolve()


def _user(prefix: str, user: Project) -> dict[str, str]:
    key = "" if user.private_key_path is None else user.private_key_path.read_text()
    return {f"{prefix}_ID": user.project_id, f"{prefix}_PRIVATE_KEY": key}
