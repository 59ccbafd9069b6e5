"""Money is a whole number of centavos; R$ exists only at the edge, for people's eyes.

No float ever touches an amount here or anywhere else in the project.
"""

import re

CENTAVOS_PER_REAL = 100

# R$ 999.999.999.999.999: more than there are, and a 64-bit column holds it in centavos.
_LENGTH_MAX = 19

# 1.234,56 or 1234,56 or 1234, with or without R$.
_BRL = re.compile(r"(?:R\$\s?)?([0-9]{1,3}(?:\.[0-9]{3})+|[0-9]{1,15})(?:,([0-9]{2}))?")


def format_brl(centavos: int) -> str:
    """Write centavos as Brazilians do: ``R$ 1.234,56``, ``-R$ 0,05``."""
    reais, rest = divmod(abs(centavos), CENTAVOS_PER_REAL)
    thousands = f"{reais:,}".replace(",", ".")
    return f"{'-' if centavos < 0 else ''}R$ {thousands},{rest:02d}"


def parse_brl(text: str) -> int:
    """Read an amount as Brazilians write it (``R$ 1.234,56``, ``1234,56``, ``1234``), in centavos.

    Raises ValueError for anything else, ``12.34`` too: a point separates thousands, never centavos.
    """
    found = _BRL.fullmatch(text.strip())
    if found is None or len(found[1]) > _LENGTH_MAX:
        raise ValueError(f"{text[:40]!r} is not an amount in reais: write it like 1.234,56")
    return int(found[1].replace(".", "")) * CENTAVOS_PER_REAL + int(found[2] or 0)
