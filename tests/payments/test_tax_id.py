"""Tax ids are masked wherever they stand, and nothing else is touched."""

import pytest

from payments.tax_id import mask_tax_id, mask_tax_ids


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
