"""Real processes for tests: started as the scripts start them, always stopped."""

import subprocess
from typing import Any

from scripts import processes
from scripts.processes import (
    PATIENCE_SECONDS,
    ROOT,
    ProcessError,
    Runner,
    Running,
    forget_proxies,
    free_port,
    wait_until,
)

__all__ = [
    "PATIENCE_SECONDS",
    "ROOT",
    "ProcessError",
    "Runner",
    "Running",
    "forget_proxies",
    "free_port",
    "plain_environment",
    "the_one_line",
    "wait_until",
]


def plain_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings of ours and no others; people's words are English."""
    return processes.plain_environment(**{"OPERATOR_LANGUAGE": "en", **settings})


def the_one_line(ended: "subprocess.CompletedProcess[Any]") -> str:
    """The only line on standard error of a start that was refused: status 2, nothing else said."""
    assert ended.returncode == 2, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert "Traceback" not in ended.stdout
    return str(lines[0])
