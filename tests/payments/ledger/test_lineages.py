"""All that is known of one credit: how it is saved, which changes are legal, reissues, twins and reversals."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from payments.ledger import transfers
from payments.ledger.lineages import Lineage, Unit, load_lineages, open_unit, save
from payments.transfer import ORIGINS, BankTransfer, TransferState, reissue_delay
from tests.payments.builders import DUPLICATED, EMPTY, INVOICE, NET, NOW, a_policy, an_invoice_log, at_bank
from tests.payments.conftest import ON_SQLITE, Books


@contextmanager
def opened(books: Books) -> Iterator[tuple[Unit, Lineage]]:
    """The lineage of the default invoice, loaded in a transaction."""
    with open_unit(books.database, books.policy, books.now) as unit:
        yield unit, load_lineages(unit, [INVOICE])[INVOICE]


@contextmanager
def counted(books: Books) -> Iterator[list[str]]:
    """The statements that are executed in this block."""
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(books.database.engine, "before_cursor_execute", count)
    yield statements
    event.remove(books.database.engine, "before_cursor_execute", count)


# --- loading and saving ---


@pytest.mark.parametrize(
    "changed",
    [
        "attempt = attempt + 1",
        "state = 'sent', lease_expires_at = NULL, bank_transfer_id = 'A'",
        # after a failover that lost commits, another transfer has the number
        "generation = 2, external_id = external_id || '-r2'",
    ],
    ids=["another attempt", "another state", "another transfer"],
)
def test_a_row_that_is_not_as_it_was_loaded_is_not_overwritten(books: Books, changed: str) -> None:
    """It was locked, so this can only be a bug: nothing of the transaction stays."""
    books.credit()
    books.news(at_bank("A"))
    books.claim()
    before = books.row()
    said = pytest.raises(AssertionError, match="0 of 1 transfers were as they had been loaded")
    with said, opened(books) as (unit, lineage):
        lineage.mark_dead(lineage.transfers[0], "no such account")
        unit.connection.execute(text(f"UPDATE transfers SET {changed}"))
        save(unit, [lineage])
    assert (books.row(), books.attention, books.history()) == (before, [], ["claimed"])


@ON_SQLITE
@pytest.mark.parametrize("state", TransferState)
def test_a_change_of_state_that_no_rule_knows_is_a_bug(books: Books, state: TransferState) -> None:
    """And changes nothing in memory either."""
    books.credit()
    with opened(books) as (_, lineage):
        [transfer] = lineage.transfers
        for origin in TransferState:
            transfer.state = origin
            if origin in ORIGINS[state]:
                lineage.move(transfer, state, "moved", None)
                assert transfer.state == state
            else:
                with pytest.raises(AssertionError, match=f"is {origin}, and cannot become {state}"):
                    lineage.move(transfer, state, "moved", None)
                assert transfer.state == origin


def test_of_a_lineage_that_did_not_change_nothing_is_written(books: Books) -> None:
    """An invoice without a credit of ours has none."""
    books.credit()
    books.send("A")
    with opened(books) as (unit, lineage), counted(books) as statements:
        assert load_lineages(unit, ["unknown"]) == {}
        assert len(statements) == 1
        save(unit, [lineage])
        assert len(statements) == 1


@pytest.mark.parametrize("status", ["created", "failed"])
def test_any_number_of_lineages_is_saved_with_as_many_statements_as_one(books: Books, status: str) -> None:
    """In one transaction: accepted, or failed in the same answer and replaced."""
    used = []
    for number in (1, 40):
        books.tell(*(an_invoice_log(invoice_id=f"{number}x{each}") for each in range(number)))
        claims = books.claim_all()
        there = {
            each.external_id: at_bank(each.external_id, status, invoice_id=each.invoice_id) for each in claims
        }
        with counted(books) as statements:
            assert transfers.record_sent(books.database, claims, there, books.policy, books.now) == number
        used.append(len(statements))
    assert used[0] == used[1]


# --- failing, and being replaced ---


@pytest.mark.parametrize("status", ["failed", "canceled"])
def test_a_lost_transfer_is_replaced_after_a_while(books: Books, status: str) -> None:
    """The id is spent: the next generation is put in line, and looked up before it is sent."""
    books.credit()
    books.send("A")
    books.news(at_bank("A", status), EMPTY)
    assert books.states == ["failed", "pending"]
    assert books.claim_all() == []
    assert books.row(2).due_at == NOW + reissue_delay(2, 5.0, 3600.0)
    books.become_due()
    ready = books.ready(at_bank("A", status))
    assert (ready.external_id, ready.amount_centavos) == (f"credit-{INVOICE}-r2", NET)
    assert books.accept(ready, at_bank("B", generation=2)) == 1
    books.news(at_bank("B", "success", generation=2))
    assert books.states == ["failed", "settled"]
    assert books.attention == []


@ON_SQLITE
def test_an_answer_that_already_says_failed_is_replaced(books: Books) -> None:
    """Accepted and lost in one breath."""
    books.credit()
    books.accept(books.claim(), at_bank("A", "failed"))
    assert books.states == ["failed", "pending"]


@ON_SQLITE
def test_reissues_end_at_the_bound_in_a_person_s_hands(books: Books) -> None:
    """REISSUE_MAX counts the transfers after the first."""
    books.policy = a_policy(reissue_max=2)
    books.credit()
    pages: list[BankTransfer] = []
    for generation in (1, 2, 3):
        books.become_due()
        claim = books.claim()
        ready = claim if claim.is_fresh else books.look_up(claim, *pages).to_send
        assert ready is not None
        bank_id = f"A{generation}"
        books.accept(ready, at_bank(bank_id, generation=generation))
        books.lose(bank_id, "Blocked", generation=generation)
        pages.append(at_bank(bank_id, "failed", generation=generation))
    assert books.states == ["failed", "failed", "dead"]
    assert books.attention == ["transfer_dead"]
    books.pass_time(10**7)
    assert books.claim_all() == []


@ON_SQLITE
def test_a_failed_twin_cannot_fail_the_good_one(books: Books) -> None:
    """A repeat of our id is refused late, on a transfer of its own; ours lives on."""
    books.credit()
    books.send("A")
    books.lose("B", DUPLICATED)
    assert books.states == ["sent"]
    books.news(at_bank("A", "success"))
    books.lose("C", DUPLICATED)
    assert (books.states, books.attention) == (["settled"], [])


@ON_SQLITE
def test_the_success_of_a_twin_settles_the_transfer_that_holds_another(books: Books) -> None:
    """We recorded the repeat; the first call's transfer is the one that was paid."""
    books.credit()
    books.send("B")
    books.news(at_bank("A", "success"))
    assert (books.states, books.row().bank_transfer_id) == (["settled"], "A")
    books.lose("B", DUPLICATED)
    assert (books.states, books.attention) == (["settled"], [])


@ON_SQLITE
def test_the_success_of_a_twin_withdraws_the_reissue(books: Books) -> None:
    """The repeat failed first and was about to be replaced; the money had moved all along."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled", "stopped"], [])
    books.pass_time(10**6)
    assert books.claim_all() == []


@ON_SQLITE
def test_the_success_of_a_twin_overtakes_a_reissue_that_is_about_to_be_looked_up(books: Books) -> None:
    """It was claimed, but nothing of it can be at the bank yet."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    claim = books.claim()
    books.news(at_bank("A", "success"))
    assert books.states == ["settled", "stopped"]
    assert books.look_up(claim, at_bank("B", "failed")).outcome == "overtaken"


def test_a_reissue_s_look_up_adopts_the_earlier_transfer_that_lives(books: Books) -> None:
    """The row of the id it carries is revived, the reissue stopped: one live transfer, as ever."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    verdict = books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    assert (verdict.outcome, books.states) == ("found", ["sent", "stopped"])
    assert books.row(1).bank_transfer_id == "A"
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled", "stopped"], [])


@ON_SQLITE
def test_a_revived_transfer_that_fails_after_all_is_replaced_by_a_generation_of_its_own(
    books: Books,
) -> None:
    """The second generation was stopped and keeps its id: the third is next."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    books.lose("A", EMPTY)
    assert books.states == ["failed", "stopped", "pending"]
    books.become_due()
    ready = books.ready(at_bank("B", "failed"), at_bank("A", "failed"))
    assert ready.external_id == f"credit-{INVOICE}-r3"


@ON_SQLITE
def test_stopped_generations_count_towards_the_bound(books: Books) -> None:
    """However a lineage wanders, it does not wander forever."""
    books.policy = a_policy(reissue_max=1)
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A", "processing"))
    books.lose("A", EMPTY)
    assert (books.states, books.attention) == (["dead", "stopped"], ["transfer_dead"])


# --- reversals ---


@ON_SQLITE
def test_a_credit_reversed_before_it_was_sent_is_not_sent(books: Books) -> None:
    """The money is gone from the account."""
    books.credit()
    books.reverse(0)
    assert (books.states, books.claim_all(), books.attention) == (["stopped"], [], [])
    assert books.statement.reversed_centavos == NET


def test_a_credit_reversed_in_part_before_it_was_sent_forwards_the_rest(books: Books) -> None:
    """What remains of the amount, less the fee."""
    books.credit()
    books.reverse(20_000)
    claim = books.claim()
    assert claim.amount_centavos == 19_950
    books.accept(claim, at_bank("A", "success", 19_950))
    assert (books.states, books.attention) == (["settled"], [])
    assert books.statement.reversed_centavos == NET - 19_950


@ON_SQLITE
@pytest.mark.parametrize("remaining", [50, 30, 0])
def test_a_rest_that_the_fee_eats_is_not_sent(books: Books, remaining: int) -> None:
    """Nothing is owed then, and no transfer of nothing is made."""
    books.credit()
    books.reverse(remaining)
    assert books.states == ["stopped"]


@ON_SQLITE
def test_reversals_told_out_of_order_count_as_the_lowest(books: Books) -> None:
    """What remains only ever shrinks."""
    books.credit()
    books.reverse(10_000)
    books.reverse(20_000)
    assert books.claim().amount_centavos == 9_950


@ON_SQLITE
@pytest.mark.parametrize(("is_paid", "remaining", "back"), [(False, 20_000, NET - 19_950), (True, 0, NET)])
def test_a_credit_reversed_after_it_was_sent_is_money_to_claim_back(
    books: Books, is_paid: bool, remaining: int, back: int
) -> None:
    """No machine takes it back from the destination, whether the reversal or the success is known first."""
    books.credit()
    books.send("A")
    if is_paid:
        books.news(at_bank("A", "success"))
    books.reverse(remaining)
    assert (books.states, books.attention) == (["settled" if is_paid else "sent"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == back
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled"], ["reversed_after_sending"])


@ON_SQLITE
@pytest.mark.parametrize(("remaining", "states"), [(20_000, ["sending"]), (0, ["stopped"])])
def test_a_reversal_while_unclear_waits_for_the_look_up_that_finds_nothing(
    books: Books, remaining: int, states: list[str]
) -> None:
    """Only then is it known that the bank has nothing: the transfer shrinks or stops, the attention closes."""
    books.credit()
    books.unclear(books.claim())
    books.reverse(remaining)
    assert books.attention == ["reversed_after_sending"]
    books.become_due()
    verdict = books.look_up(books.claim())
    assert (books.states, books.attention) == (states, [])
    assert (verdict.to_send.amount_centavos if verdict.to_send else None) == (19_950 if remaining else None)


@ON_SQLITE
def test_a_reversal_while_unclear_is_claimed_back_when_the_look_up_finds_it(books: Books) -> None:
    """It was sent before the reversal was known."""
    books.credit()
    books.unclear(books.claim())
    books.reverse(0)
    books.become_due()
    books.look_up(books.claim(), at_bank("A"))
    assert (books.states, books.attention) == (["sent"], ["reversed_after_sending"])


@ON_SQLITE
def test_a_released_transfer_is_not_shrunk_before_the_bank_was_asked(books: Books) -> None:
    """Its call was begun once: whether the bank has it is not known, whatever the release said."""
    books.credit()
    books.release(books.claim())
    books.reverse(20_000)
    assert (books.row().amount_centavos, books.attention) == (NET, ["reversed_after_sending"])


@ON_SQLITE
@pytest.mark.parametrize(("remaining", "states"), [(20_000, ["failed", "pending"]), (0, ["failed"])])
def test_a_failed_transfer_of_a_reversed_credit_is_replaced_by_what_is_still_owed(
    books: Books, remaining: int, states: list[str]
) -> None:
    """Or by none. Nothing is to be claimed back: the first one never moved any money."""
    books.credit()
    books.send("A")
    books.reverse(remaining)
    books.lose("A", EMPTY)
    assert (books.states, books.attention) == (states, [])
    assert books.statement.reversed_centavos == NET - (19_950 if remaining else 0)
    assert not remaining or books.row(2).amount_centavos == 19_950


def test_the_full_amount_found_at_the_bank_undoes_a_withheld_part(books: Books) -> None:
    """The reissue had been lowered, but the first transfer lives with all of it: that is to be claimed back."""
    books.credit()
    books.send("B")
    books.lose("B", DUPLICATED)
    books.reverse(20_000)
    assert books.row(2).amount_centavos == 19_950
    books.become_due()
    books.look_up(books.claim(), at_bank("B", "failed"), at_bank("A"))
    assert (books.states, books.attention) == (["sent", "stopped"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET - 19_950
    assert books.credit_row().withheld_centavos == 0


@ON_SQLITE
def test_a_late_success_after_everything_was_withheld_is_claimed_back(books: Books) -> None:
    """The twin lived after all, and no transfer was live any more."""
    books.credit()
    books.send("B")
    books.reverse(0)
    books.lose("B", DUPLICATED)
    assert books.states == ["failed"]
    books.news(at_bank("A", "success"))
    assert (books.states, books.attention) == (["settled"], ["reversed_after_sending"])
    assert books.statement.claim_back_centavos == NET


@ON_SQLITE
def test_a_dead_transfer_of_a_reversed_credit_is_raised(books: Books) -> None:
    """Whether the bank has it, a person must find out before anything is sent."""
    books.credit()
    books.refuse(books.claim())
    books.reverse(0)
    assert books.attention == ["reversed_after_sending", "transfer_dead"]


@ON_SQLITE
def test_a_reversal_of_an_unknown_credit_waits_for_it(books: Books) -> None:
    """Events come in any order."""
    books.reverse(20_000)
    books.credit()
    assert books.claim().amount_centavos == 19_950


@ON_SQLITE
def test_a_repeated_reversal_changes_nothing(books: Books) -> None:
    """The same log through two webhooks."""
    books.credit()
    books.reverse(20_000)
    same = an_invoice_log("reversed", INVOICE, 20_000, 50, f"reversed-{INVOICE}-20000")
    books.tell(same, event_id="another-event")
    assert books.row().amount_centavos == 19_950
    assert books.history() == ["lowered"]
