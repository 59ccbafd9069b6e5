"""Money is a whole number of centavos; R$ exists only at the edge, for people's eyes.

No float ever touches an amount here or anywhere else in the project.
"""

CENTAVOS_PER_REAL = 100


def net_centavos(gross_centavos: int, fee_centavos: int) -> int:
    """Return what is to be forwarded of a credit: gross minus the bank's fee, in centavos.

    The result may be zero or negative (whether the bank's fee can exceed a tiny invoice is unknown);
    the caller forwards nothing then.
    """
    return gross_centavos - fee_centavos


def format_brl(centavos: int) -> str:
    """Write centavos as Brazilians do: ``R$ 1.234,56``, ``-R$ 0,05``."""
    reais, rest = divmod(abs(centavos), CENTAVOS_PER_REAL)
    thousands = f"{reais:,}".replace(",", ".")
    return f"{'-' if centavos < 0 else ''}R$ {thousands},{rest:02d}"
