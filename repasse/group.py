"""How commands are declared and shown: each with examples, each group under headings."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from repasse.language import _

# What a command ends with: done; something is left, was not found, or is not allowed now; wrong arguments or settings.
DONE, LEFT, WRONG = 0, 1, 2


class Command(click.Command):
    """A command whose help ends with examples, in the language of the process."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how it is typed."""
        formatter.write_usage(ctx.command_path, " ".join(self.collect_usage_pieces(ctx)), _("Usage: "))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each option is for."""
        records = [each.get_help_record(ctx) for each in self.get_params(ctx)]
        with formatter.section(_("Options")):
            formatter.write_dl([each for each in records if each is not None])

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The --help of each command."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = _("Show this message and exit.")
        return option

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples as they are typed, one on each line."""
        with formatter.section(_("Examples")):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


class Group(Command, click.Group):
    """Commands under headings, in the order that is given; then examples."""

    def __init__(
        self,
        name: str,
        help: str,
        sections: Mapping[str, Sequence[click.Command]],
        examples: Sequence[str] = (),
    ) -> None:
        commands = [each for section in sections.values() for each in section]
        super().__init__(name, commands, help=help, examples=examples)
        self.sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in order; completion offers them."""
        return [str(each.name) for section in self.sections.values() for each in section]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then each section under its heading."""
        super().format_options(ctx, formatter)
        width = max(map(len, self.list_commands(ctx)))
        for heading, commands in self.sections.items():
            limit = formatter.width - width - 6
            rows = [(str(each.name).ljust(width), each.get_short_help_str(limit)) for each in commands]
            with formatter.section(heading):
                formatter.write_dl(rows)


def command(help: str, *examples: str) -> Callable[[Callable[..., Any]], Command]:
    """Declare a command, named for its function; ``examples`` are whole command lines."""
    return click.command(cls=Command, help=help, examples=examples)
