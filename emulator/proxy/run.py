"""`python -m emulator run -- COMMAND ...`: one command whose calls to the bank reach a running emulator.

Only this command sees the variables, so that a shell's other tools keep their network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from emulator.proxy.sdk_env import FILE_NAME, read_sdk_env

SUMMARY = "run -- COMMAND ...: one command, with the variables of sdk.env for it alone"
USAGE = "python -m emulator run [--data FOLDER] -- COMMAND [ARGUMENT ...]"


def run(arguments: list[str]) -> int:
    """Run the command and return its exit status; 2 when there is nothing to run or no emulator to reach."""
    folder, words = _split(arguments)
    if not words:
        return _wrong(f"usage: {USAGE}")
    path = folder / FILE_NAME
    try:
        variables = read_sdk_env(path)
    except OSError:
        return _wrong(
            f"there is no {path}: start an emulator with --proxy-port or --tls-port, or name its --data"
        )
    try:
        return subprocess.run(words, env={**os.environ, **variables}, check=False).returncode
    except OSError as error:
        return _wrong(f"cannot run {words[0]}: {error.strerror}")


def _split(arguments: list[str]) -> tuple[Path, list[str]]:
    """The data folder and the command; everything after `--` is the command's own."""
    ours, words = arguments, arguments
    if "--" in arguments:
        place = arguments.index("--")
        ours, words = arguments[:place], arguments[place + 1 :]
    elif arguments[:1] == ["--data"]:
        ours, words = arguments[:2], arguments[2:]
    else:
        ours = []
    match ours:
        case []:
            return Path("data/emulator"), words
        case ["--data", folder]:
            return Path(folder), words
    return Path("data/emulator"), []


def _wrong(message: str) -> int:
    print(f"emulator: {message}", file=sys.stderr)
    return 2
