"""The whole bank to a file and back."""

from __future__ import annotations

import copy
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.behaviour.populate import populate, starts_at
from emulator.clock import Clock, ScaledClock
from emulator.management import state
from emulator.protocol.credentials import in_memory
from emulator.protocol.deliveries import Deliveries
from tests.emulator.conftest import INVOICE, NOW, TAGGED_TRANSFER

Make = Callable[..., Any]


def saved(bank: Bank, clock: Any) -> Any:
    credentials, _ = in_memory(1)
    return json.loads(json.dumps(state.save(bank, clock, credentials, None)["books"]))


def live(bank: Bank, clock: Clock, hours: int) -> list[str]:
    """Some ordinary and some hostile hours; returns what was posted."""
    posted = []

    def deliver(delivery: Delivery) -> None:
        posted.append(f"{delivery.event_id} {delivery.attempt} {delivery.forged}")
        code = "badHttpStatus" if int(delivery.event_id) % 3 == 0 else None
        bank.events.record(delivery, clock.now(), code)

    bank.events.deliver = deliver
    for hour in range(hours * 4):
        bank.create_invoices([{**INVOICE, "tags": ["$same", "é"]}] * 3, clock.now())
        bank.create_transfers([{**TAGGED_TRANSFER, "externalId": f"{len(bank.transfers.rows)}"}], clock.now())
        bank.deposits.receive({"amount": 100 + hour}, clock.now())
        for _ in range(15):
            clock.advance(60)
            bank.step(clock.now())
    return posted


def test_a_bank_that_is_saved_and_loaded_goes_on_exactly_as_the_one_that_was_not() -> None:
    """After loading, the same calls give the same ids, chances and posts."""
    one, clock = Bank(seed=5, opened_at=NOW, opening_balance_centavos=9_000), Clock(NOW)
    one.register_webhook("http://receiver.test/hook", ["invoice", "transfer", "deposit"], NOW)
    one.faults.add({"name": "hostile"})
    one.faults.add({"name": "no_balance", "rate": 0.3, "ends_in": 12})
    live(one, clock, hours=2)

    text = json.dumps(state.save(one, clock, in_memory(1)[0], None))
    other, other_clock = Bank(seed=99, opened_at=NOW), Clock(NOW)
    state.load(json.loads(text), other, other_clock, in_memory(1)[0])
    assert other_clock.now() == clock.now()
    assert saved(other, other_clock) == saved(one, clock)

    assert live(one, clock, hours=2) == live(other, other_clock, hours=2)
    assert saved(other, other_clock) == saved(one, clock)
    assert len(one.faults.struck) > 5, "chances of many kinds were taken"


def test_a_row_that_two_books_hold_is_still_one_row_after_loading() -> None:
    """A log in its book and in its event is one object again."""
    bank, clock = Bank(seed=1, opened_at=NOW), Clock(NOW)
    bank.register_webhook("http://receiver.test/hook", ["invoice"], NOW)
    live(bank, clock, hours=1)
    other = Bank(seed=1, opened_at=NOW)
    state.load(state.save(bank, clock, in_memory(1)[0], None), other, clock, in_memory(1)[0])
    event = next(iter(other.events.rows.all()))
    assert event["log"] is other.invoices.logs.get(event["log"]["id"])


def test_a_bank_with_a_past_can_be_saved() -> None:
    """A populated bank is the same after saving and loading."""
    bank, clock = Bank(seed=1, opened_at=starts_at(NOW)), Clock(NOW)
    populate(bank, NOW)
    other = Bank(seed=2, opened_at=NOW)
    state.load(state.save(bank, clock, in_memory(1)[0], None), other, clock, in_memory(1)[0])
    assert saved(other, clock) == saved(bank, clock)


def test_what_was_being_posted_is_posted_again() -> None:
    """A delivery without an outcome is made again after loading."""
    bank, clock = Bank(seed=1, opened_at=NOW), Clock(NOW)
    credentials, _ = in_memory(1)
    bank.register_webhook("http://receiver.test/hook", ["invoice"], NOW)
    opened: list[Delivery] = []
    bank.events.deliver = opened.append
    bank.create_invoices([INVOICE], NOW)
    clock.advance(120)
    bank.step(clock.now())

    class Posts(Deliveries):
        def open_deliveries(self) -> list[Delivery]:
            return opened

    text = state.save(bank, clock, credentials, Posts(bank, credentials, clock))
    other, again = Bank(seed=1, opened_at=NOW), list[Delivery]()
    other.events.deliver = again.append
    state.load(text, other, clock, credentials)
    other.step(clock.now())
    assert again == opened
    assert len(again) == 1


def test_the_pace_of_the_clock_and_the_projects_come_along() -> None:
    """Speed, pause and projects are saved; private keys are not."""
    bank, clock = Bank(seed=1, opened_at=NOW), ScaledClock(60.0, NOW)
    clock.set_pace(paused=True)
    credentials, _ = in_memory(1)
    project, _ = credentials.add_project({"name": "second", "allowed_ips": ["10.0.0.0/8"]})
    text = json.dumps(state.save(bank, clock, credentials, None))
    assert "PRIVATE KEY" not in text
    other, others = ScaledClock(), in_memory(1)[0]
    state.load(json.loads(text), Bank(seed=2, opened_at=NOW), other, others)
    assert (other.speed, other.paused, other.now()) == (60.0, True, clock.now())
    assert project.to_json() in [each.to_json() for each in others.projects()]


def spoil(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def spoiled(found: Any) -> Any:
        changed = copy.deepcopy(found)
        change(changed)
        return changed

    return spoiled


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (lambda found: [], "not a saved state"),
        (lambda found: {"invoices": []}, "not a saved state"),
        (lambda found: {**found, "emulator_state": 99}, "version 99"),
        (lambda found: {"emulator_state": state.VERSION}, "KeyError"),
        (lambda found: {**found, "books": []}, "TypeError"),
        (lambda found: {**found, "projects": [{}]}, "KeyError"),
        (lambda found: {**found, "clock": {"now": "2026-03-02T15:00:00", "speed": 1, "paused": False}}, "clock"),
        (lambda found: {**found, "open_deliveries": [["1", "2", 0, False]]}, "contradicts itself"),
        (spoil(lambda found: found["books"].pop("invoices")), "other books"),
        (spoil(lambda found: found["books"]["invoices"].pop("credited")), "invoices differs in credited"),
        (spoil(lambda found: found["books"]["invoices"].update(colour=1)), "colour"),
        (spoil(lambda found: found["books"]["preset"].update(paid_share="all")), "paid_share must be"),
        (spoil(lambda found: found["books"]["accounts"]["balances"].update(customer=7)), "do not balance"),
        (spoil(lambda found: found["books"]["ids"].update(_random=[3, [1, 2], None])), "changed"),
        (spoil(lambda found: found["books"]["agenda"]["_heap"].append(
            ["2026-03-02T15:00:00+00:00", 99_999, "rob.the.bank", []])), "rob.the.bank"),
        (spoil(lambda found: found["books"]["agenda"]["_heap"].append(["soon", 1, "a", []])), "_heap must be"),
        (spoil(lambda found: found["books"]["invoices"]["credited"].update(x={"at": "never"})), "credited must be"),
    ],
)  # fmt: skip
def test_a_bad_state_is_refused_in_one_line_and_changes_nothing(
    spoiled: Callable[[Any], Any], words: str
) -> None:
    """Each kind of damage is named, and the running bank stays as it was."""
    bank, clock = Bank(seed=1, opened_at=NOW, opening_balance_centavos=100), Clock(NOW)
    credentials, _ = in_memory(1)
    found = json.loads(json.dumps(state.save(bank, clock, credentials, None)))
    clock.advance(5)
    bank.create_invoices([INVOICE], clock.now())
    before = saved(bank, clock)
    with pytest.raises(state.BadState, match=words) as refused:
        state.load(spoiled(found), bank, clock, credentials)
    assert "\n" not in str(refused.value)
    assert saved(bank, clock) == before
    assert clock.now() == NOW + timedelta(seconds=5)


def test_a_value_that_cannot_be_saved_is_a_bug_that_shows_at_once() -> None:
    """An unknown type raises TypeError instead of being dropped."""
    bank = Bank(seed=1, opened_at=NOW)
    bank.invoices.credited["1"] = object()  # type: ignore[assignment]
    with pytest.raises(TypeError, match="object cannot be saved"):
        state.save(bank, Clock(NOW), in_memory(1)[0], None)


def test_a_running_bank_goes_back_to_a_saved_state(signed: Any) -> None:
    """PUT state restores books, clock and the ids to come."""
    signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    found = signed.ask("GET", "state")
    _, first = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    signed.advance(600)
    assert signed.client.put("/emulator/state", json=found).status_code == 200
    assert signed.clock.now() == NOW
    assert len(signed.get("/v2/invoice")["invoices"]) == 1
    _, again = signed.call("POST", "/v2/invoice", {"invoices": [INVOICE]})
    assert again == first, "the same ids come after"
    bad = signed.client.put("/emulator/state", json={**found, "emulator_state": 0})
    assert bad.status_code == 400
    assert "version 0" in bad.json()["errors"][0]["message"]


def test_a_file_is_written_whole_for_its_owner_alone(tmp_path: Path) -> None:
    """The file has mode 0600, leaves no draft, and a cut one is refused."""
    bank, clock = Bank(seed=7, opened_at=NOW), Clock(NOW)
    path = tmp_path / "state.json"
    state.write(path, state.save(bank, clock, in_memory(1)[0], None))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]
    assert state.seed_of(state.read(path)) == 7
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(state.BadState, match=r"state\.json is not JSON"):
        state.read(path)
    with pytest.raises(state.BadState, match=r"cannot read .*: No such file"):
        state.read(tmp_path / "none.json")
