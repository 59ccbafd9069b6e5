"""How commands are declared and shown: each with examples, each group under headings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

# What a command ends with: done; something is left, was not found, or is not allowed now; wrong arguments or settings.
DONE, LEFT, WRONG = 0, 1, 2


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed, one on each line."""
        _write_examples(formatter, self.examples)


class Group(click.Group):
    """Commands under headings, in the order that is given; then examples."""

    def __init__(
        self,
        name: str,
        help: str,
        sections: Mapping[str, Sequence[click.Command]],
        examples: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        commands = [each for section in sections.values() for each in section]
        super().__init__(name, commands, help=help, **kwargs)
        self.sections = sections
        self.examples = examples

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in order; completion offers them."""
        return [str(each.name) for section in self.sections.values() for each in section]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section under its heading."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, commands in self.sections.items():
            limit = formatter.width - width - 6
            rows = [(str(each.name).ljust(width), each.get_short_help_str(limit)) for each in commands]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed, one on each line."""
        _write_examples(formatter, self.examples)


def command(help: str, *examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command, named for its function; ``examples`` are whole command lines."""
    return click.command(cls=Command, help=help, examples=examples)


def _write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
