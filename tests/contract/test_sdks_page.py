"""The lines that the emulator's page of SDKs asks a reader to type work as they stand there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.populated import Populated, populated_emulator
from tests.running import ROOT

pytestmark = pytest.mark.process
PAGE = (ROOT / "emulator/docs/sdks.md").read_text()


def snippet(language: str, about: str) -> str:
    """The block of code in this language that has this in it."""
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    (found,) = (block for block in blocks if about in block)
    return found


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Populated, Path]]:
    """An emulator, and a folder where its data is where the page says."""
    folder = tmp_path_factory.mktemp("sdks")
    with populated_emulator(folder) as running:
        (folder / "data").mkdir()
        (folder / "data/emulator").symlink_to(folder / "bank")
        yield running, folder


def run(populated: tuple[Populated, Path], *command: str) -> str:
    running, folder = populated
    ended = subprocess.run(
        command, cwd=folder, env=running.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_python_snippet_shows_the_balance(populated: tuple[Populated, Path]) -> None:
    """With the stock SDK, pointed by the environment alone."""
    assert "currency=BRL" in run(populated, sys.executable, "-c", snippet("python", "starkbank.balance.get"))


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="needs curl and openssl")
def test_the_shell_snippets_point_curl_here_and_create_an_invoice(populated: tuple[Populated, Path]) -> None:
    """Sourced as it says, signed with openssl."""
    script = snippet("sh", "sdk.env") + snippet("sh", "openssl dgst")
    assert "Marina Tavares" in run(populated, "sh", "-c", script)
