"""Payers: believable, valid, and the same for the same seed."""

import re
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from validate_docbr import CNPJ, CPF

from payments.tax_id import has_right_check_digits
from worker.payers import random_amounts, random_payers

SEEDS = st.integers(min_value=0, max_value=2**64)


@given(SEEDS)
def test_every_tax_id_has_valid_check_digits_and_no_letters(seed: int) -> None:
    """The bank checks the digits of every payer and refuses the whole batch for one that is wrong."""
    for payer in random_payers(Random(seed), 12):
        if "/" in payer.tax_id:
            assert re.fullmatch(r"\d{2}\.\d{3}\.\d{3}/0001-\d{2}", payer.tax_id)
            assert CNPJ().validate(payer.tax_id)
        else:
            assert re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d{2}", payer.tax_id)
            assert CPF().validate(payer.tax_id)


@given(SEEDS)
def test_payers_of_one_call_are_distinct(seed: int) -> None:
    """No name and no tax id stands twice in a batch."""
    payers = random_payers(Random(seed), 100)
    assert len({payer.name for payer in payers}) == len({payer.tax_id for payer in payers}) == 100


@given(SEEDS)
def test_the_same_seed_gives_the_same_payers_and_amounts(seed: int) -> None:
    """A run is reproduced by its seed."""
    first, second = Random(seed), Random(seed)
    assert random_payers(first, 12) == random_payers(second, 12)
    assert random_amounts(first, 12, 100, 999) == random_amounts(second, 12, 100, 999)


def test_a_seed_keeps_its_payers_from_one_release_to_the_next() -> None:
    """Recorded seeds of the simulation stay worth something; change this on purpose only."""
    assert [payer.tax_id for payer in random_payers(Random(2026), 3)] == [
        "96.987.973/0001-35",
        "27.075.364/0001-97",
        "915.188.447-07",
    ]


@given(SEEDS)
def test_every_second_company_may_have_letters(seed: int) -> None:
    """Only where it is asked for: whether the bank takes such a CNPJ is not documented."""
    payers = random_payers(Random(seed), 100, have_letters=True)
    companies = [payer.tax_id for payer in payers if "/" in payer.tax_id]
    assert all(has_right_check_digits(payer.tax_id) for payer in payers)
    assert any(re.search("[A-Z]", tax_id) for tax_id in companies) or len(companies) < 20


def test_names_look_brazilian() -> None:
    """Accents occur, titles do not, and no name has a stray space."""
    names = [payer.name for payer in random_payers(Random(1), 300)]
    assert any(not name.isascii() for name in names)
    assert all(name == " ".join(name.split()) and len(name.split()) >= 2 for name in names)
    assert not any(re.search(r"\b(Dra?|Sra?|Srta)\.", name) for name in names)


def test_one_payer_in_five_is_a_company() -> None:
    """About: the odds are drawn for each payer."""
    companies = sum("/" in payer.tax_id for payer in random_payers(Random(1), 1000))
    assert 150 < companies < 250


@given(SEEDS, st.integers(1, 1000), st.integers(0, 1000))
def test_amounts_stay_in_their_range(seed: int, low: int, extra: int) -> None:
    """Both ends are included, and each is a whole number of centavos."""
    amounts = random_amounts(Random(seed), 12, low, low + extra)
    assert len(amounts) == 12
    assert all(type(amount) is int and low <= amount <= low + extra for amount in amounts)
