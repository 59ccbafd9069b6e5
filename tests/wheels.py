"""Builds our distributions and installs them into environments of their own, without a network."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement


def build(project: Path, wheels: Path) -> Path:
    """The wheel of the project in this folder, which must have no other build in ``wheels``."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels)]
    run(build, project)
    (wheel,) = wheels.iterdir()
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Make an environment with the wheel and what it declares to need, and nothing else; its python."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], check=False).returncode != 0:
        pytest.skip("this Python has no ensurepip, so no environment with pip can be made without a network")
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run([str(python), "-m", "pip", "install", "--no-index", "--no-deps", str(wheel)], environment)
    (metadata,) = _site(environment).glob(f"{wheel.name.partition('-')[0]}-*.dist-info")
    lend(list(Distribution.at(metadata).requires or ()), environment)
    return python


def run(words: list[str], folder: Path) -> str:
    """What a command printed that ended with 0, with hardly any environment."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lend(requirements: list[str], environment: Path) -> None:
    """Link the distributions that are asked for, and what they ask for, out of our environment: no network."""
    site = _site(environment)
    for found in _needed(requirements, set()):
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))


def _site(environment: Path) -> Path:
    return next((environment / "lib").glob("python*/site-packages"))


def _needed(requirements: list[str], seen: set[str]) -> Iterator[Distribution]:
    for each in map(Requirement, requirements):
        if each.name not in seen and (each.marker is None or each.marker.evaluate({"extra": ""})):
            seen.add(each.name)
            found = distribution(each.name)
            yield found
            yield from _needed(list(found.requires or ()), seen)
