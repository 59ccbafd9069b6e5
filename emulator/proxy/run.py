"""The command `run -- COMMAND ...`: one command whose calls to the bank reach a running emulator.

Only this command sees the variables, so that a shell's other tools keep their network.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from emulator.command_line import DEFAULT_DATA, PROGRAM, stop
from emulator.proxy.sdk_env import FILE_NAME, read_sdk_env

SUMMARY = "run -- COMMAND ...: one command, with the variables of sdk.env for it alone"


def run(arguments: list[str]) -> int:
    """Run the command and return its exit status; 2 when there is nothing to run or no emulator to reach."""
    folder, words = _split(arguments)
    if not words:
        stop(f"usage: {PROGRAM} run [--data FOLDER] -- COMMAND [ARGUMENT ...]")
    path = folder / FILE_NAME
    try:
        variables = read_sdk_env(path)
    except OSError:
        stop(f"there is no {path}: start an emulator with --proxy-port or --tls-port, or name its --data")
    try:
        return subprocess.run(words, env={**os.environ, **variables}, check=False).returncode
    except OSError as error:
        stop(f"cannot run {words[0]}: {error.strerror}")


def _split(arguments: list[str]) -> tuple[Path, list[str]]:
    """The data folder and the command; everything after `--` is the command's own."""
    match arguments:
        case ["--data", folder, "--", *words] | ["--data", folder, *words]:
            return Path(folder), words
        case ["--", *words]:
            return DEFAULT_DATA, words
    return DEFAULT_DATA, [] if "--" in arguments else arguments
