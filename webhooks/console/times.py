"""How one operator reads times: in the zone that the operator chose, with UTC in the title, and how long ago."""

from datetime import UTC, date, datetime, timedelta

from markupsafe import Markup

from payments.language import Language
from payments.operator.times import duration, zone_of

DEFAULT_ZONE = "America/Sao_Paulo"

# Brazil's, and where its operators may sit.
_OFFERED = (
    *("America/Sao_Paulo", "America/Noronha", "America/Fortaleza", "America/Manaus", "America/Rio_Branco"),
    *("America/New_York", "Europe/Lisbon", "Europe/Berlin", "UTC"),
)


# A machine without the time zones' files has only UTC.
ZONES = tuple(name for name in _OFFERED if name == "UTC" or zone_of(name) is not UTC)


class Times:
    """Writes times for one request. ``zone_name`` that is not offered means ``default_zone``, the setting TIME_ZONE."""

    def __init__(
        self, now: datetime, language: Language, zone_name: str | None, default_zone: str = DEFAULT_ZONE
    ) -> None:
        self.now = now
        self._language = language
        self.zone_name = zone_name if zone_name in ZONES else default_zone
        self._zone = zone_of(self.zone_name)
        if self._zone is UTC:
            self.zone_name = "UTC"

    def when(self, at: datetime | None) -> Markup:
        """Day and time; UTC in the title. A dash for None."""
        if at is None:
            return Markup('<span class="soft">—</span>')
        return self._time(at, self.text(at))

    def text(self, at: datetime) -> str:
        """Day and time without markup; no day for today."""
        local = at.astimezone(self._zone)
        today = self.now.astimezone(self._zone).date()
        if local.date() == today:
            return f"{local:%H:%M:%S}"
        day = self._language.day_format if local.year == today.year else self._language.date_format
        return f"{local.strftime(day)} {local:%H:%M:%S}"

    def ago(self, at: datetime | None) -> Markup:
        """``3 min ago``, ``in 2 h``; UTC in the title."""
        _ = self._language.gettext
        if at is None:
            return Markup('<span class="soft">—</span>')
        passed = round((self.now - at).total_seconds())
        if not passed:
            return self._time(at, _("now"))
        if passed > 0:
            return self._time(at, _("%(duration)s ago", duration=duration(passed)))
        return self._time(at, _("in %(duration)s", duration=duration(-passed)))

    def clock(self, at: datetime) -> str:
        """Hour and minute; for axes."""
        return f"{at.astimezone(self._zone):%H:%M}"

    def clock_seconds(self, at: datetime) -> Markup:
        """Hour, minute and second of today; UTC in the title."""
        return self._time(at, f"{at.astimezone(self._zone):%H:%M:%S}")

    def day(self, at: datetime) -> str:
        """The day, as in ``02 Mar`` or ``02/03``; for axes."""
        return at.astimezone(self._zone).strftime(self._language.day_format)

    def today(self) -> date:
        """Which day it is in this zone."""
        return self.now.astimezone(self._zone).date()

    def written(self, day: date) -> str:
        """A day with its year, as a form takes it: ``02/03/2026``."""
        return f"{day:%d/%m/%Y}"

    def plain(self, at: datetime | None) -> str:
        """Day and time as text, for sentences; a dash for None."""
        return self.when(at).striptags()

    def bounds(self, day: date) -> tuple[datetime, datetime]:
        """When a day begins and ends in this zone, in UTC."""
        begins = datetime(day.year, day.month, day.day, tzinfo=self._zone)
        following = day + timedelta(days=1)
        ends = datetime(following.year, following.month, following.day, tzinfo=self._zone)
        return begins.astimezone(UTC), ends.astimezone(UTC)

    def _time(self, at: datetime, text: str) -> Markup:
        utc = at.astimezone(UTC)
        return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
            utc.isoformat(timespec="milliseconds"), f"{utc:%Y-%m-%d %H:%M:%S.%f}"[:-3], text
        )
