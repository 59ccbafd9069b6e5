"""Tax ids are masked wherever they stand, and nothing else is touched."""

import pytest

from emulator.books.formats import tax_id_text
from payments.tax_id import cnpj, cpf, has_right_check_digits, mask_tax_id, mask_tax_ids


@pytest.mark.parametrize(
    ("tax_id", "masked"),
    [
        ("529.982.247-25", "***.982.247-**"),
        ("52998224725", "***.982.247-**"),
        ("20.018.183/0001-80", "**.018.183/****-**"),
        ("20018183000180", "**.018.183/****-**"),
        ("12.ABC.345/01DE-35", "**.ABC.345/****-**"),
        ("", "***"),
        ("123", "***"),
    ],
)
def test_one_tax_id_keeps_its_middle(tax_id: str, masked: str) -> None:
    """Enough to tell two payers apart."""
    assert mask_tax_id(tax_id) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"taxId": "529.982.247-25"}', '{"taxId": "***.982.247-**"}'),
        ('{"taxId": "52998224725"}', '{"taxId": "***.982.247-**"}'),
        ('{"tax_id":"20018183000180"}', '{"tax_id":"**.018.183/****-**"}'),
        ("invalidTaxId: CPF 52998224725 is unknown", "invalidTaxId: CPF ***.982.247-** is unknown"),
        ("cpf=52998224725x", "cpf=***.982.247-**x"),
        ("20.018.183/0001-80, 529.982.247-25", "**.018.183/****-**, ***.982.247-**"),
        ("of 12.ABC.345/01DE-35 or 12.abc.345/01de-35", "of **.ABC.345/****-** or **.abc.345/****-**"),
    ],
)
def test_every_tax_id_in_a_text_is_masked(text: str, masked: str) -> None:
    """In JSON as received, and in the bank's own words."""
    assert mask_tax_ids(text) == masked


@pytest.mark.parametrize(
    "text",
    ["5713348842127360", "2026-03-02T15:10:49.337731+00:00", '{"amount": 12345678901}', "R$ 1.234,56", ""],
)
def test_what_is_no_tax_id_stays(text: str) -> None:
    """Ids, times and amounts are what an operator reads."""
    assert mask_tax_ids(text) == text


@pytest.mark.parametrize(
    ("tax_id", "is_right"),
    [
        ("529.982.247-25", True),
        ("52998224725", True),
        ("529.982.247-26", False),
        ("111.111.111-11", False),  # the sums are right, and Receita Federal issues none
        ("20.018.183/0001-80", True),
        ("20.018.183/0001-08", False),
        ("12.ABC.345/01DE-35", True),  # Receita Federal's own example
        ("12abc34501de35", True),
        ("12.ABC.345/01DE-53", False),
        ("12.ABD.345/01DE-35", False),
    ],
)
def test_check_digits_are_those_of_the_other_signs(tax_id: str, is_right: bool) -> None:
    """Of a CPF, and of a CNPJ with letters or without; the emulator, which shares no code with us, agrees."""
    assert has_right_check_digits(tax_id) is is_right
    if is_right:
        assert tax_id_text(tax_id) == (
            cpf(bare(tax_id)[:9]) if len(bare(tax_id)) == 11 else cnpj(bare(tax_id)[:12])
        )
    else:
        with pytest.raises(ValueError, match="not a CPF or CNPJ"):
            tax_id_text(tax_id)


def bare(tax_id: str) -> str:
    return "".join(filter(str.isalnum, tax_id)).upper()
