"""A proof that the proofs can fail: deliberate faults in the code, each of which must be caught by name.

Each mutation is made in a copy of the tree, where the test that is named beside it must fail.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import ROOT, plain_environment


@dataclass(frozen=True)
class Mutation:
    """What is broken: in ``file``, ``sound`` becomes ``broken``; ``caught_by`` is the test that must notice."""

    file: str
    sound: str
    broken: str
    caught_by: str


MUTATIONS = {
    "drop the fence": Mutation(
        "payments/ledger/transfers.py",
        "and transfer.attempt == claim.attempt",
        "and transfer.attempt >= claim.attempt",
        "tests/payments/ledger/test_transfers.py::test_a_late_sleeper_changes_nothing",
    ),
    "skip the look-up": Mutation(
        "payments/ledger/transfers.py",
        "return self.attempt == 1 and self.generation == 1",
        "return True",
        "tests/simulation/test_simulation.py::test_a_day_with_every_fault_ends_exact",
    ),
    "answer before the commit": Mutation(
        "webhooks/intake.py",
        "return await stored",
        'return Receipt("6", "credit", None)',
        "tests/webhooks/test_intake.py::test_nobody_is_answered_before_its_own_commit",
    ),
    "reuse the attempt's number": Mutation(
        "payments/ledger/transfers.py",
        "attempt=transfers.c.attempt + 1",
        "attempt=case((transfers.c.attempt == 0, 1), else_=transfers.c.attempt)",
        "tests/payments/ledger/test_transfers.py::"
        "test_an_expired_claim_is_taken_over_with_a_new_attempt_and_the_old_tag",
    ),
    "forget the unique slot": Mutation(
        "payments/storage/schema.py",
        '    UniqueConstraint("slot", name="a_slot_once"),\n',
        "",
        "tests/payments/ledger/test_batches.py::test_a_slot_is_planned_once",
    ),
    "make external_ids up": Mutation(
        "payments/transfer.py",
        "return lineage_for(invoice_id) if generation == 1 else",
        'return f"{lineage_for(invoice_id)}-{id(object())}" if generation == 1 else',
        "tests/payments/test_transfer.py::test_the_external_id_is_derived_from_the_invoice_and_the_generation",
    ),
    "believe a page that hides what we know of": Mutation(
        "payments/lineage.py",
        "if sighting.bank_transfer_id not in shown]",
        "if False]",
        "tests/payments/test_lineage.py::test_a_lineage_is_judged_by_what_is_known_and_what_is_shown",
    ),
    "create a batch without asking": Mutation(
        "worker/issuing.py",
        "missing = batches.record_issued(database, claim, bank.find_invoices(claim.tag), clock())",
        "missing: Sequence[InvoiceOrder] = claim.missing",
        "tests/worker/test_issuing.py::"
        "test_after_an_answer_that_was_lost_the_bank_is_asked_and_nothing_is_created_twice",
    ),
    "take a second credit for the first": Mutation(
        "payments/ledger/inbox.py",
        "return Outcome.SECOND_CREDIT",
        "return Outcome.KNOWN_CREDIT",
        "tests/payments/ledger/test_inbox.py::test_a_second_credited_log_of_an_invoice_is_for_a_person",
    ),
    "forward the gross": Mutation(
        "payments/credit.py",
        "return self.gross_centavos - self.fee_centavos",
        "return self.gross_centavos",
        "tests/payments/test_credit.py::test_a_credit_forwards_its_gross_minus_its_fee",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_a_deliberate_fault_breaks_and_the_test_that_catches_it_exist(name: str) -> None:
    """Code that moves takes its deliberate fault along; so does a test that is renamed."""
    mutation = MUTATIONS[name]
    assert (ROOT / mutation.file).read_text("utf-8").count(mutation.sound) == 1
    file, _, test = mutation.caught_by.partition("::")
    assert f"def {test}" in (ROOT / file).read_text("utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as it is, to be broken and mended again."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("payments", "webhooks", "worker", "emulator", "tests", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "*.db", ".hypothesis")
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


@pytest.mark.long
@pytest.mark.timeout(600)  # a pytest run each
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_deliberate_fault_is_caught_by_name(name: str, copy: Path) -> None:
    """The named test fails on the broken copy (and passes on the sound one, as part of the suite)."""
    mutation = MUTATIONS[name]
    file = copy / mutation.file
    sound = file.read_text("utf-8")
    file.write_text(sound.replace(mutation.sound, mutation.broken), "utf-8")
    try:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"),
                *("-m", "not postgresql", mutation.caught_by),
            ],
            cwd=copy,
            env={**plain_environment(), "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(sound, "utf-8")
    assert ended.returncode == 1, f"{name!r} was not caught:\n{ended.stdout[-2000:]}"
    assert f"FAILED {mutation.caught_by}" in ended.stdout, ended.stdout[-2000:]
