"""Centavos, and how people see them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments.money import format_brl, parse_brl


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


@pytest.mark.parametrize(
    ("text", "centavos"),
    [
        ("R$ 1.234,56", 123_456),
        ("R$1234,56", 123_456),
        (" 1234 ", 123_400),
        ("0,05", 5),
        ("1.234", 123_400),
        ("12.345.678,90", 1_234_567_890),
    ],
)
def test_an_amount_is_read_as_brazilians_write_it(text: str, centavos: int) -> None:
    """With or without the sign and the points."""
    assert parse_brl(text) == centavos


@given(st.integers(0, 10**15))
def test_what_is_written_can_be_read(centavos: int) -> None:
    """To the centavo."""
    assert parse_brl(format_brl(centavos)) == centavos


@pytest.mark.parametrize(
    "text", ["", "12.34", "1,2", "-1,00", "1e3", "1 000", "٣,00", "1.2345", "x" * 99, "1" + ".000" * 9]
)
def test_anything_else_is_no_amount(text: str) -> None:
    """A point never separates centavos: guessing would be wrong by a hundred."""
    with pytest.raises(ValueError, match="is not an amount in reais: write it like"):
        parse_brl(text)
