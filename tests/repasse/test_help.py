"""The command line as it is read: help, examples, completion, and what scripts hand over to it."""

import os
import re
import runpy
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from payments.version import VERSION
from repasse.__main__ import repasse
from tests.running import ROOT, Runner

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def every_command(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name, as it is typed."""
    for name, command in group.commands.items():
        if name != command.name:  # an older name
            continue
        yield " ".join(("repasse", *path, name)), command
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))


COMMANDS = dict(every_command(repasse))


def assert_reads(line: str) -> None:
    """A line that is typed into a shell is one of our commands with arguments that it takes."""
    words = shlex.split(re.split(r" [|>] ", line)[0], comments=True)
    command: click.Command = repasse
    words.pop(0)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    if words != ["--help"]:
        command.make_context("repasse", words)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_can_be_typed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command has one or more; those of the messages and pages are read too, below."""
    monkeypatch.setenv("TIME_ZONE", "America/Sao_Paulo")
    examples = COMMANDS[name].examples  # type: ignore[attr-defined]
    assert examples
    for example in examples:
        assert f"{example} ".startswith(f"{name} "), example
        assert_reads(example)


def test_commands_that_messages_name_exist() -> None:
    """An operator types what a message says."""
    for folder in ("payments", "webhooks", "worker", "repasse"):
        for file in (ROOT / folder).rglob("*.py"):
            for group, name in re.findall(r"repasse (job|db|webhook) ([a-z]+)", file.read_text("utf-8")):
                assert f"repasse {group} {name}" in COMMANDS, file


@pytest.mark.parametrize("name", ["repasse", *COMMANDS])
def test_every_help_fits_80_columns(name: str, call: Run) -> None:
    """And every command of a group has its line, with what it does."""
    said = call("repasse.__main__", *name.split()[1:], "--help", environment={})
    assert said.returncode == 0
    lines = said.stdout.splitlines()
    examples = said.stdout.partition("\nExamples:\n")[2].splitlines()
    assert [line for line in lines if len(line) > 80 and line not in examples] == []
    assert "..." not in said.stdout.partition("Options:")[2]


def test_bare_calls_print_help_and_typing_errors_get_a_hint(call: Run) -> None:
    """Status 2, as for any wrong arguments."""
    for group in ("", "job", "db", "webhook"):
        ended = call("repasse.__main__", *group.split(), environment={})
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "\nExamples:\n" in ended.stderr
    for arguments, meant in (
        (("job", "statment"), "statement"),
        (("jbo",), "job"),
        (("db", "bakup"), "backup"),
    ):
        ended = call("repasse.__main__", *arguments, environment={})
        assert ended.returncode == 2
        assert f"Did you mean '{meant}'?" in ended.stderr


def test_the_version_is_printed(call: Run) -> None:
    """With the name of the program."""
    assert call("repasse.__main__", "--version", environment={}).stdout == f"repasse {VERSION}\n"


@pytest.mark.process
@pytest.mark.parametrize(
    ("shell", "words", "last", "offered"),
    [
        ("bash", "repasse job st", "2", "statement"),
        ("zsh", "repasse job transfers --state de", "4", "dead"),
        ("fish", "repasse job transfers --state", "de", "dead"),
    ],
)
def test_shells_complete_commands_and_options(
    shell: str, words: str, last: str, offered: str, call: Run, runner: Runner
) -> None:
    """The script that a shell loads asks the command itself; fish hands over the last word, others its number."""
    source = call("repasse.__main__", "completion", shell, environment=dict(os.environ)).stdout
    assert f"_REPASSE_COMPLETE={shell}_complete" in source
    asked = {"_REPASSE_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": last}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **asked}
    assert offered in runner.run("-m", "repasse", environment=environment).stdout


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "arguments", "printed"),
    [
        ("run_job", ["statement", "--json"], '"balanced": true'),
        ("books", ["verify"], "sound"),
        ("repasse", ["--version"], VERSION),
    ],
)
def test_scripts_work_in_the_folder_that_one_is_in(
    script: str, arguments: list[str], printed: str, database_url: str, environment: dict[str, str]
) -> None:
    """Its .env and its files count, not those of the checkout; a package there that is named as ours does not."""
    folder = Path(database_url.removeprefix("sqlite:///")).parent
    (folder / "payments").mkdir()
    (folder / "payments" / "__init__.py").touch()
    (folder / ".env").write_text("DATABASE_URL=sqlite:///repasse.db\n")
    settings = {
        name: value for name, value in environment.items() if name not in ("DATABASE_URL", "PYTHONPATH")
    }
    ended = subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert printed in ended.stdout


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ({"OPERATOR_LANGUAGE": "pt-BR", "LANG": "en_US.UTF-8"}, "pt-BR"),
        ({"LC_ALL": "pt_BR.UTF-8"}, "pt-BR"),
        ({"LANG": "pt_PT"}, "pt-BR"),
        ({"OPERATOR_LANGUAGE": "en", "LANG": "pt_BR"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "pt_BR"}, "en"),
        ({}, "en"),
    ],
)
def test_the_language_is_the_operators_else_the_shells(
    environment: dict[str, str], code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OPERATOR_LANGUAGE, also from a .env, decides; without it the shell does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.environ", environment)
    assert runpy.run_path(str(ROOT / "repasse" / "language.py"))["language"].code == code
    if "OPERATOR_LANGUAGE" not in environment:
        (tmp_path / ".env").write_text("OPERATOR_LANGUAGE=pt-BR\n")
        assert runpy.run_path(str(ROOT / "repasse" / "language.py"))["language"].code == "pt-BR"


@pytest.mark.process
def test_help_and_results_are_in_the_operators_language(runner: Runner, environment: dict[str, str]) -> None:
    """Names of commands and options and JSON's keys never change."""

    def said(*arguments: str, code: str = "pt-BR") -> str:
        settings = {**environment, "COLUMNS": "80", "OPERATOR_LANGUAGE": code}
        return runner.run("-m", "repasse", *arguments, environment=settings).stdout

    help = said("job", "--help")
    assert help.startswith("Uso: repasse job ")
    assert "\nExemplos:\n  repasse job attention\n" in help
    assert "  statement  Mostra onde está cada centavo.\n" in help
    assert "..." not in help.partition("Opções:")[2]
    assert max(map(len, help.splitlines())) <= 80
    assert said("job", "attention") == "nenhuma pendência\n"
    assert said("job", "statement", "--json") == said("job", "statement", "--json", code="en")
