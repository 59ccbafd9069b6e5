"""Times as a person reads them: in which zone, and how long something took."""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def zone_of(name: str) -> tzinfo:
    """The time zone of this name; UTC on a machine that does not have it, such as one without zone files."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


def duration(seconds: float, decimal_sign: str = ".") -> str:
    """How long, in its two largest units: ``2 h 5 min``, ``0.4 s``."""
    if seconds < 10:
        return f"{seconds:.3g} s".replace(".", decimal_sign)
    rest = int(seconds)
    for index, (size, name) in enumerate(_UNITS):
        if rest >= size:
            number, left = divmod(rest, size)
            if index + 1 < len(_UNITS) and size > 60:
                smaller, smaller_name = _UNITS[index + 1]
                if more := left // smaller:
                    return f"{number} {name} {more} {smaller_name}"
            return f"{number} {name}"
    return "0 s"
