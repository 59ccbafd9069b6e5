"""How the bank writes things, against recorded samples and generated numbers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.books.formats import Ids, brcode, day_end, day_of, day_start, tax_id_text, time_text


@pytest.mark.parametrize(
    ("uuid", "checksum"),
    [("7c1e90a4b5d24f0e8a3b6d95c2f01e77", "A289"), ("0fd2a6b8c94e4713b7a51c80e6d2394a", "88CF")],
)
def test_a_br_code_ends_in_its_checksum(uuid: str, checksum: str) -> None:
    """The last four digits are the CRC of the rest."""
    code = brcode(uuid)
    assert code.endswith(f"6304{checksum}")
    assert uuid in code


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("52998224725", "529.982.247-25"),
        ("529.982.247-25", "529.982.247-25"),
        ("20018183000180", "20.018.183/0001-80"),
        ("20.018.183/0001-80", "20.018.183/0001-80"),
    ],
)
def test_a_tax_id_comes_back_formatted_whichever_way_it_was_sent(sent: str, shown: str) -> None:
    """Digits and punctuated forms give the same text."""
    assert tax_id_text(sent) == shown


@given(st.text(max_size=20) | st.from_regex(r"\A\d{11}\Z|\A\d{14}\Z"))
def test_a_tax_id_is_formatted_or_refused_and_one_wrong_digit_is_always_refused(text: str) -> None:
    """The check digits catch any single wrong digit."""
    try:
        shown = tax_id_text(text)
    except ValueError:
        return
    digits = [character for character in shown if character.isdigit()]
    for place in range(len(digits)):
        changed = digits.copy()
        changed[place] = str((int(changed[place]) + 1) % 10)
        if place >= len(digits) - 2:
            with pytest.raises(ValueError, match="not a CPF or CNPJ"):
                tax_id_text("".join(changed))


def test_times_have_six_decimals_and_a_plain_offset_even_on_the_second() -> None:
    """Times are written in the only form that the Python SDK reads."""
    assert time_text(datetime(2026, 3, 2, 15, tzinfo=UTC)) == "2026-03-02T15:00:00.000000+00:00"


def test_a_day_of_sao_paulo_begins_at_three_in_utc() -> None:
    """Days are São Paulo's, three hours behind UTC."""
    day = day_of(datetime(2026, 3, 2, 2, 59, 59, tzinfo=UTC))
    assert day.isoformat() == "2026-03-01"
    assert day_start(day) == datetime(2026, 3, 1, 3, tzinfo=UTC)
    assert day_end(day) == datetime(2026, 3, 2, 3, tzinfo=UTC)


def test_ids_have_sixteen_digits_and_never_repeat() -> None:
    """Entity ids look like the bank's and are unique."""
    ids = Ids(seed=1)
    made = [ids.entity() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert {len(each) for each in made} == {16}
    assert len(ids.transaction()) == 32
