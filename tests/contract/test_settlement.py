"""Settlement through the real SDK against the emulator: what is lost, refused or late, is paid once all the same."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from payments.bank.client import Bank
from payments.errors import LedgerUnavailable
from payments.ledger import transfers
from payments.storage.database import open_database
from tests.contract.conftest import SOON_SECONDS, Stage
from tests.emulated import EmulatedBank
from tests.payments.builders import english

LEASE = 60.0


def assert_exact(stage: Stage) -> None:
    """Both sides agree: every credit paid once, at its net, and nothing else."""
    bank, ours = stage.emulator.statement(), stage.books
    assert bank["exact"], bank
    assert bank["balanced"]
    assert ours.balanced
    assert ours.settled_centavos == ours.net_centavos == bank["credited"]["net_centavos"]
    assert ours.transfers["settled"] == bank["forwarded_exactly_once"] == bank["credited"]["count"]


# --- the straight way ---


def test_credits_are_sent_in_one_call_and_settle(stage: Stage) -> None:
    """Each at its net, with its lineage, its external_id and the call as tags."""
    ids = stage.credit(10_000, 20_000, 30_000)
    assert stage.settle().sent == 3
    assert stage.settle().is_idle, "nothing is due twice"
    assert len(stage.emulator.requests("POST", "transfer")) == 1
    paid = stage.emulator.statement()["payouts"]
    assert sorted(each["amount_centavos"] for payout in paid for each in payout["transfers"]) == [
        10_000,
        20_000,
        30_000,
    ]
    for payout in paid:
        (transfer,) = payout["transfers"]
        assert transfer["external_id"] == f"credit-{payout['invoice_id']}"
        assert transfer["tags"][0] == f"credit-{payout['invoice_id']}"
        assert transfer["tags"][1].startswith("call-")
    assert {payout["invoice_id"] for payout in paid} == set(ids)
    stage.finish()
    assert_exact(stage)


def test_more_than_a_call_takes_are_sent_in_several(stage: Stage) -> None:
    """The bank takes a hundred at a time; of equal amounts, which have external_ids of their own, it blocks none."""
    for _ in range(2):
        stage.credit(*range(1_000, 1_060))
    assert [stage.settle().sent for _ in range(3)] == [100, 20, 0]
    stage.finish()
    assert_exact(stage)


# --- answers that are lost ---


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("drop_answer", {}),
        ("cut_body", {}),
        ("wrong_body", {}),
        ("error_500", {"accepted": True}),
        ("error_502", {"accepted": True}),
        ("error_503", {"accepted": True}),
    ],
)
def test_an_answer_lost_after_acceptance_is_found_by_a_look_up(
    stage: Stage, fault: str, options: dict[str, bool]
) -> None:
    """The bank has it and we do not know: after the lease we ask, adopt what is there, and send nothing more."""
    stage.credit(10_000, 20_000)
    stage.emulator.fault(fault, "POST transfer", times=1, **options)
    assert stage.settle().unclear == 2
    assert stage.settle().is_idle, "the lease is not over"
    stage.advance(LEASE)
    again = stage.settle()
    assert (again.found, again.sent) == (2, 0)
    assert len(stage.emulator.requests("POST", "transfer")) == 1
    assert len(stage.emulator.requests("GET", "transfer")) == 1, (
        "one look-up by the call's tag answers for both"
    )
    stage.finish()
    assert_exact(stage)
    assert stage.matters() == []


@pytest.mark.parametrize("fault", ["error_500", "drop_answer", "wrong_body", "cut_body", "throttle_429"])
def test_while_the_look_up_fails_nothing_is_sent(stage: Stage, fault: str) -> None:
    """What may be at the bank is never sent on the strength of a missing answer."""
    stage.credit(10_000)
    stage.emulator.fault("drop_answer", "POST transfer", times=1)
    stage.settle()
    stage.emulator.fault(fault, "GET transfer")
    for _ in range(4):
        stage.advance(LEASE + 3600)
        assert stage.settle().released == 1
    assert len(stage.emulator.requests("POST", "transfer")) == 1
    assert stage.books.transfers["pending"] == 1
    stage.emulator.clear_faults()
    stage.advance(3600)
    assert stage.settle().found == 1
    stage.finish()
    assert_exact(stage)


def test_a_page_that_is_empty_by_mistake_makes_no_second_payment(stage: Stage) -> None:
    """The look-up lies once; the external_id is the same, so the bank refuses the twin and the good one is paid."""
    stage.credit(10_000)
    stage.emulator.fault("drop_answer", "POST transfer", times=1)
    stage.settle()
    stage.emulator.fault("empty_page", "GET transfer", times=1)
    stage.advance(LEASE)
    assert stage.settle().sent == 1
    stage.finish()
    assert_exact(stage)
    assert stage.emulator.transfers("failed") == 1


def test_a_death_between_claim_and_call_is_looked_up_and_sent(stage: Stage) -> None:
    """Claimed, and nobody ever sent it: the look-up finds nothing, and it is sent under the same external_id."""
    (invoice_id,) = stage.credit(10_000)
    transfers.claim(stage.database, "call-of-the-dead", stage.policy, 100, stage.now())
    assert stage.settle().is_idle
    stage.advance(LEASE)
    assert stage.settle().sent == 1
    assert len(stage.emulator.requests("GET", "transfer")) == 1
    assert stage.states() == [(f"credit-{invoice_id}", "sent")]


def test_a_death_between_call_and_record_is_found(
    stage: Stage, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bank answered and the books could not be written: the lease ends, and the look-up finds it."""
    stage.credit(10_000)
    monkeypatch.setattr("payments.storage.sqlite.BUSY_SECONDS", 0.05)
    locked = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
    impatient = open_database(database_url)
    send = stage.bank.send_transfers

    class LockedMeanwhile:
        """The same bank; another program takes the write lock while it answers."""

        timeout_seconds = stage.bank.timeout_seconds
        find_transfers = staticmethod(stage.bank.find_transfers)
        transfer_logs = staticmethod(stage.bank.transfer_logs)

        def send_transfers(self, orders: object) -> object:
            answer = send(orders)  # type: ignore[arg-type]
            locked.execute("BEGIN IMMEDIATE")
            return answer

    with closing(locked):
        with pytest.raises(LedgerUnavailable):
            stage.settle(LockedMeanwhile(), impatient)  # type: ignore[arg-type]
        locked.execute("ROLLBACK")
    impatient.close()
    stage.advance(LEASE)
    assert stage.settle().found == 1
    stage.finish()
    assert_exact(stage)


def test_two_forwarders_at_once_send_each_transfer_once(stage: Stage) -> None:
    """Claims decide, not the topology."""
    stage.credit(*range(1_000, 1_040))
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: stage.settle(), range(4)))
    assert sum(run.sent for run in runs) == 40
    assert stage.emulator.statement()["transfer_count"] == 40
    stage.finish()
    assert_exact(stage)


# --- the bank says no, or not now ---


def test_an_empty_balance_fails_late_and_is_reissued_when_there_is_money(stage: Stage) -> None:
    """Accepted, then failed by a log: a new transfer of the same lineage is sent later, and arrives."""
    (forwarded,) = stage.credit(30_000)
    stage.settle()
    stage.finish()
    (waiting,) = stage.credit(50_000)
    stage.emulator.ask("POST", f"invoices/{forwarded}/reverse")  # the account is 30,000 short
    assert stage.settle().sent == 1
    stage.advance(LEASE + SOON_SECONDS)
    assert stage.reconcile().outcomes == 1
    expected = [(f"credit-{waiting}", "failed"), (f"credit-{waiting}-r2", "pending")]
    assert stage.states()[1:] == expected
    stage.pay_invoices(90_000)  # there is money again
    stage.advance(3600)
    assert stage.settle().sent == 1
    stage.advance(LEASE + SOON_SECONDS)
    stage.reconcile()
    assert stage.states()[2] == (f"credit-{waiting}-r2", "settled")
    payouts = {payout["invoice_id"]: payout for payout in stage.emulator.statement()["payouts"]}
    assert payouts[waiting]["verdict"] == "forwarded_exactly_once"
    assert [each["status"] for each in payouts[waiting]["transfers"]] == ["failed", "success"]


def test_a_transfer_that_failed_is_replaced_until_the_destination_is_open_again(stage: Stage) -> None:
    """Blocked for a while: each failure is looked up before its replacement, and the last one arrives."""
    (invoice_id,) = stage.credit(10_000)
    stage.emulator.fault("blocked_destination", times=3)
    stage.settle()
    for _ in range(200):
        stage.advance(600)
        stage.reconcile()
        stage.settle()
        if stage.books.is_finished:
            break
    assert stage.states() == [
        (f"credit-{invoice_id}", "failed"),
        (f"credit-{invoice_id}-r2", "failed"),
        (f"credit-{invoice_id}-r3", "failed"),
        (f"credit-{invoice_id}-r4", "settled"),
    ]
    assert_exact(stage)
    assert stage.matters() == []


def test_a_throttled_call_waits_as_long_as_the_bank_wishes(stage: Stage) -> None:
    """429 with Retry-After: not done; nothing is asked before, and then it is sent."""
    stage.credit(10_000)
    stage.emulator.fault("throttle_429", "POST transfer", times=1, retry_after=900)
    assert stage.settle().released == 1
    stage.advance(890)
    assert stage.settle().is_idle
    stage.advance(11)
    assert stage.settle().sent == 1
    stage.finish()
    assert_exact(stage)


@pytest.mark.parametrize("wrong", ["key", "project"])
def test_refused_credentials_release_and_raise_and_kill_nothing(
    stage: Stage, emulator: EmulatedBank, connect: Callable[..., Bank], private_key_of_nobody: str, wrong: str
) -> None:
    """The content may still be good: everything waits, a person is told, and after the mending all is paid."""
    stage.credit(10_000, 20_000)
    changes = {
        "key": {"private_key_pem": private_key_of_nobody},
        "project": {"project_id": "4242424242424242"},
    }
    stranger = connect(**changes[wrong])
    assert stage.settle(stranger).released == 2
    assert stage.books.transfers["pending"] == 2
    assert stage.books.transfers["dead"] == 0
    assert stage.matters() == ["bank_refuses_us"]
    ((detail,),) = stage.rows("SELECT detail FROM attentions")
    assert "STARKBANK_" in english(detail)
    stage.advance(10)
    stage.finish()
    assert_exact(stage)
    assert stage.matters() == []


@pytest.fixture
def private_key_of_nobody() -> str:
    """A key that no project has registered."""
    from emulator.protocol import credentials

    return credentials.in_memory(seed=2)[1]


# --- the guard of time ---


@pytest.mark.parametrize("slow", ["send", "look-up"])
def test_no_call_begins_that_could_outlive_its_lease(
    stage: Stage, connect: Callable[..., Bank], slow: str
) -> None:
    """Whoever overslept gives the claim back instead of calling: by then someone else may act on it."""
    stage.credit(10_000)
    if slow == "look-up":
        transfers.claim(stage.database, "call-of-the-dead", stage.policy, 100, stage.now())
        stage.advance(LEASE)
    # The whole lease is less than a call may take, as if the process had slept after the claim.
    stage.policy = replace(stage.policy, lease_seconds=stage.bank.timeout_seconds)
    assert stage.settle().released == 1
    assert stage.emulator.requests("POST", "transfer") == []
    assert stage.emulator.requests("GET", "transfer") == []
    assert stage.books.transfers["pending"] == 1


def test_a_look_up_that_took_long_is_not_followed_by_a_send(stage: Stage) -> None:
    """Both happen within one lease: when the look-up has eaten it, the sending waits for the next claim."""
    stage.credit(10_000)
    transfers.claim(stage.database, "call-of-the-dead", stage.policy, 100, stage.now())
    stage.advance(LEASE)
    find = stage.bank.find_transfers

    class Slow:
        """The same bank; its look-ups take most of the lease."""

        timeout_seconds = stage.bank.timeout_seconds
        send_transfers = staticmethod(stage.bank.send_transfers)
        transfer_logs = staticmethod(stage.bank.transfer_logs)

        def find_transfers(self, tag: str) -> object:
            found = find(tag)
            stage.advance(LEASE - stage.bank.timeout_seconds)
            return found

    counts = stage.settle(Slow())  # type: ignore[arg-type]
    assert (counts.released, counts.sent) == (1, 0)
    assert stage.emulator.requests("POST", "transfer") == []
    stage.advance(LEASE)
    stage.settle()
    stage.finish()
    assert_exact(stage)
