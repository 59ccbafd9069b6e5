"""The options that commands share, and how what is typed is read; wrong ones end the command with status 2."""

import getpass
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import wraps
from typing import Any, TypeVar

import click

from payments.money import parse_brl
from repasse.language import _

# A screenful or two; --limit asks for more.
LINES = 50

_Function = TypeVar("_Function", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """Digits and nothing else: Python also reads 1_000, and a Brazilian writes 1.000 for a thousand."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number. Fails with what is wrong."""
        if isinstance(value, str) and not re.fullmatch("[0-9]{1,18}", value):
            self.fail(
                _(
                    "%(text)s is not a whole number: write its digits alone, such as 1000",
                    text=repr(value[:40]),
                ),
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class Moment(click.ParamType[datetime]):
    """A day or a time, in the zone of the setting TIME_ZONE unless it has an offset; UTC from then on."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment; a day is its midnight. Fails with how to write one."""
        if isinstance(value, datetime):
            return value
        try:
            moment = _read_moment(value)
            if not MINYEAR < moment.year < MAXYEAR:  # in another zone it may not exist
                raise ValueError
        except ValueError:
            self.fail(
                _(
                    "%(text)s is not a time: write 02/03/2026, 2026-03-02 or 2026-03-02T15:00, in the zone "
                    "TIME_ZONE, or with an offset like -03:00",
                    text=repr(value[:40]),
                ),
                param,
                ctx,
            )
        if moment.tzinfo is None:
            from repasse.opening import read_zone

            moment = moment.replace(tzinfo=read_zone())
        return moment.astimezone(UTC)


def _read_moment(text: str) -> datetime:
    brazilian = re.fullmatch(
        r"(\d{1,2})/(\d{1,2})/(\d{4})(?:[ T](\d{1,2}:\d{2}(?::\d{2})?))?", text, re.ASCII
    )
    if brazilian is None:
        return datetime.fromisoformat(text)
    day, month, year, clock = brazilian.groups(default="0:00")
    hour, minute, second = map(int, [*clock.split(":"), "0"][:3])
    return datetime(int(year), int(month), int(day), hour, minute, second)  # noqa: DTZ001 (its zone follows)


class Amount(click.ParamType[int]):
    """Reais as Brazilians write them, in centavos."""

    name = "reais"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The centavos. Fails with how to write an amount."""
        try:
            return value if isinstance(value, int) else parse_brl(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


json_option = click.option("--json", "as_json", is_flag=True, help=_("As one JSON object."))


@dataclass(frozen=True, slots=True)
class Paging:
    """How many lines of a list are asked for, after which, and whether as JSON."""

    limit: int
    after: str | None
    as_json: bool


def paged(function: Callable[..., int]) -> Callable[..., int]:
    """Add what every list has: how many lines, from where, and --json; the function takes them as ``paging``."""

    @json_option
    @click.option(
        "--limit",
        type=WholeNumber(1, 100_000),
        default=LINES,
        show_default=True,
        help=_("At most N lines."),
        metavar="N",
    )
    @click.option("--after", metavar="CURSOR", help=_("Continue where the last list ended."))
    @wraps(function)
    def with_paging(*, limit: int, after: str | None, as_json: bool, **given: Any) -> int:
        return function(paging=Paging(limit, after, as_json), **given)

    return with_paging


def period(function: _Function) -> _Function:
    """Add --from and --to, checked against each other."""
    until = click.option(
        "--to", "until", type=Moment(), callback=_not_before_from, help=_("Recorded before then.")
    )
    since = click.option(
        "--from", "since", type=Moment(), is_eager=True, help=_("Recorded then or later, like 02/03/2026.")
    )
    return since(until(function))


def _not_before_from(
    ctx: click.Context, _parameter: click.Parameter, until: datetime | None
) -> datetime | None:
    since: datetime | None = ctx.params.get("since")
    if since is not None and until is not None and until <= since:
        raise click.UsageError(_("--to is not later than --from: there is no time between them"), ctx)
    return until


def operator(reason: str | None = None) -> Callable[[_Function], _Function]:
    """Add who acts and why, which the audit log keeps; ``reason`` is what stands there when none is given."""

    def add(function: _Function) -> _Function:
        given: dict[str, Any] = (
            {"required": True} if reason is None else {"default": reason, "show_default": True}
        )
        why = click.option("--reason", help=_("Why; saved in the audit log, 3 to 500 characters."), **given)
        who = click.option(
            "--who",
            default=login_name,
            help=_(
                "Who acts: a name as typed, which the audit log marks as such; your login name if not given."
            ),
        )
        return why(who(function))

    return add


def login_name() -> str:
    """The name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
