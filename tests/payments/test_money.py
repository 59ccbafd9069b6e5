"""Centavos, and how people see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.money import format_brl, net_centavos


@pytest.mark.parametrize(
    ("gross", "fee", "net"), [(48_712, 50, 48_662), (100, 0, 100), (100, 100, 0), (30, 50, -20), (0, 0, 0)]
)
def test_the_net_is_gross_minus_fee_even_below_zero(gross: int, fee: int, net: int) -> None:
    """Nothing is clipped: the caller must see that a fee ate the credit."""
    assert net_centavos(gross, fee) == net


@pytest.mark.parametrize(
    ("centavos", "text"),
    [
        (0, "R$ 0,00"),
        (5, "R$ 0,05"),
        (-5, "-R$ 0,05"),
        (100, "R$ 1,00"),
        (123_456, "R$ 1.234,56"),
        (-123_456_789_01, "-R$ 123.456.789,01"),
        (10**17 + 1, "R$ 1.000.000.000.000.000,01"),
    ],
)
def test_reais_are_written_as_brazilians_write_them(centavos: int, text: str) -> None:
    """Point for thousands, comma for centavos, the sign before the currency."""
    assert format_brl(centavos) == text


@given(st.integers())
def test_no_centavo_is_lost_in_writing(centavos: int) -> None:
    """The digits of the text are those of the amount, whatever its size."""
    text = format_brl(centavos)
    assert int("".join(filter(str.isdigit, text))) == abs(centavos)
    assert text.startswith("-") == (centavos < 0)
