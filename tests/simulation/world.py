"""One simulated day on virtual time: our real ledger, settlement, reconciliation and issuing, the emulator's
books, and every fault that the seed asks for. One seed, one history, always the same.

Processes are simulated, not started: a call to the bank or the beginning of a transaction is a *gap*, and in a
gap time passes, others act (within the call, so steps of several processes interleave), and a process may die.
Nothing in the production code knows of this; it is handed a database, a bank and a clock.
"""

import heapq
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import structlog
from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError

from emulator.behaviour.bank import Bank
from emulator.behaviour.events import Delivery
from emulator.books.preset import Preset
from emulator.books.refusal import Refusal
from payments.errors import LedgerUnavailable
from payments.event import read_event
from payments.ledger import inbox
from payments.ledger.batches import next_batch_at, open_window, read_window
from payments.ledger.transfers import next_due_at
from payments.operator.statement import Statement, read_statement
from payments.reconciliation import reconcile_once
from payments.settlement import settle_once
from payments.storage.database import Database, open_database
from payments.storage.migrate import migrate
from tests.payments.builders import a_policy
from tests.simulation.bank import SimulatedBank
from tests.simulation.checks import check_end, check_step
from tests.simulation.faults import Plan
from worker.issuing import IssuingRules, issue_due

EPOCH = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
INTERVAL_SECONDS = 10_800.0
SLOTS = 8

POLICY = a_policy()
RULES = IssuingRules(8, 12, 1_000, 50_000, "issue", 60.0, 5.0, 3600.0)

# The bank's faults end here; what is left must settle by itself. The longest reissue wait is twelve hours and
# follows failures of the first day, so some days more are plenty.
FAULTS_END_AFTER = timedelta(hours=30)
GIVE_UP_AFTER = timedelta(days=6)

# Of these only a row in the inbox follows; one in four is stored, which tells as much, and the day costs half.
_IGNORED = frozenset({"created", "paid", "sending", "overdue", "expired"})

# Fewer than in production (300 s), so that a day costs less to simulate; it makes recovery slower, never safer.
RECONCILE_SECONDS = 1_800.0


class Died(BaseException):
    """A simulated SIGKILL: nothing of ours may catch it, so it is no Exception."""


class Broken(AssertionError):
    """An invariant does not hold; the text says which, and the seed replays it."""


@dataclass(slots=True)
class Process:
    """A web process or a worker. ``life`` counts its starts; whoever acts for an earlier life is dead."""

    name: str
    kind: str
    alive: bool = False
    life: int = 0
    busy: set[str] = field(default_factory=set)
    wake_at: dict[str, datetime] = field(default_factory=dict)


class World:
    """Everything that exists in one simulated day; run() plays it to its end and checks it."""

    def __init__(
        self,
        seed: int,
        plan: Plan,
        folder: Path,
        crash_at_gap: int | None = None,
        rules: IssuingRules = RULES,
        slots: int = SLOTS,
        lasts: timedelta = FAULTS_END_AFTER,
        database_url: str | None = None,
    ) -> None:
        self.seed = seed
        self.plan = plan
        self.random = Random(f"world:{seed}")
        self.now = EPOCH
        self.skew = timedelta(0)
        self.rules = rules
        self.slots = slots
        self.faults_end_at = EPOCH + lasts
        self.counts: Counter[str] = Counter()
        self.history: list[tuple[datetime, str, str]] = []
        self.crash_at_gap = crash_at_gap
        self.gaps = 0
        self._agenda: list[tuple[datetime, int, str, tuple[Any, ...]]] = []
        self._sequence = 0
        self._stack: list[tuple[Process, int]] = []
        self.bank = Bank(
            seed=seed,
            opened_at=EPOCH,
            preset=Preset(invoice_fee_centavos=plan.fee_centavos, event_per_webhook=plan.two_webhooks),
            opening_balance_centavos=plan.opening_balance_centavos,
            deliver=self._deliver,
        )
        for number in range(2 if plan.two_webhooks else 1):
            self.bank.register_webhook(f"https://example.com/{number}", ["invoice", "transfer"], EPOCH)
        self.database = _SimulatedDatabase(self, database_url or f"sqlite:///{folder}/day-{seed}.db")
        self.caller = SimulatedBank(self)
        self.processes = [Process(f"web-{n + 1}", "web") for n in range(plan.webs)]
        self.processes += [Process(f"worker-{n + 1}", "worker") for n in range(plan.workers)]

    # --- playing ------------------------------------------------------------------------------------------

    def run(self) -> Statement:
        """Play the day and what follows until nothing moves; return the statement. Raises Broken."""
        try:
            for process in self.processes:
                self.at(self.now, "start", process)
            self.plan.arrange(self)
            self.advance(self.faults_end_at)
            self._end_faults()
            limit = EPOCH + GIVE_UP_AFTER
            while not self._is_quiet():
                if self.now >= limit:
                    raise Broken(f"not settled after {GIVE_UP_AFTER.days} days: {self._unsettled()}")
                self.advance(self.now + timedelta(hours=1))
            check_end(self)
            return read_statement(self.database.plain)
        finally:
            self.database.plain.close()
            self.database.raw.close()

    def at(self, moment: datetime, act: str, *args: Any) -> None:
        """Put something on the agenda; ``act`` names a method of this class without its ``do_``."""
        self._sequence += 1
        heapq.heappush(self._agenda, (max(moment, self.now), self._sequence, act, args))

    def advance(self, until: datetime) -> None:
        """Let time pass, doing what falls due, ours and the bank's, in order."""
        while True:
            ours = self._agenda[0][0] if self._agenda else None
            banks = self.bank.next_at()
            moments = [moment for moment in (ours, banks) if moment is not None and moment <= until]
            if not moments:
                break
            self.now = max(self.now, min(moments))
            self.bank.step(self.now)
            while self._agenda and self._agenda[0][0] <= self.now:
                _, _, act, args = heapq.heappop(self._agenda)
                getattr(self, f"do_{act}")(*args)
        self.now = max(self.now, until)

    def clock(self) -> datetime:
        """What our processes take for the time."""
        return self.now + self.skew

    @property
    def faulty(self) -> bool:
        """Whether faults still happen."""
        return self.now < self.faults_end_at

    def note(self, who: str, what: str) -> None:
        """Write the history, and count."""
        self.history.append((self.now, who, what))

    # --- gaps: where time passes and processes die --------------------------------------------------------

    def gap(self, what: str) -> None:
        """A process is between two of its steps. It may have been killed meanwhile, or dies now."""
        if not self._stack:
            return
        process, life = self._stack[-1]
        if process.life != life or not process.alive:
            raise Died
        self.gaps += 1
        if self.gaps == self.crash_at_gap or self.plan.dies_in_gap(self):
            self.counts["crashes"] += 1
            self.note(process.name, f"dies {what}")
            self._kill(process)
            raise Died

    def pass_time(self, seconds: float) -> None:
        """Let time pass within a call, for others to act in."""
        self.advance(self.now + timedelta(seconds=seconds))
        if self._stack:
            process, life = self._stack[-1]
            if process.life != life or not process.alive:
                raise Died

    def _act(self, process: Process, part: str, steps: Callable[[], None]) -> bool:
        """Let a process do some steps, between which it may die. True when it came to their end."""
        life = process.life
        process.busy.add(part)
        self._stack.append((process, life))
        finished = False
        try:
            steps()
            finished = True
        except Died:
            pass
        except LedgerUnavailable as error:
            self.note(process.name, f"{part}: {error}")
        finally:
            self._stack.pop()
            if process.life == life:
                process.busy.discard(part)
        check_step(self)
        return finished

    def _kill(self, process: Process) -> None:
        process.alive = False
        process.life += 1
        process.busy.clear()
        process.wake_at.clear()
        self.at(self.now + timedelta(seconds=self.plan.restart_after(self)), "start", process)

    # --- what happens -------------------------------------------------------------------------------------

    def do_start(self, process: Process) -> None:
        if process.alive:
            return
        if self.plan.is_down(process.kind, self.now):
            self.at(self.now + timedelta(minutes=10), "start", process)
            return
        process.alive = True
        if process.kind == "web":
            self.wake_forwarders()
            return

        def begin() -> None:
            open_window(self.database, INTERVAL_SECONDS, self.slots, f"{self.seed:08x}", self.clock())
            self._wake(process, "issue", self.now)
            self._wake(process, "reconcile", self.now)

        if not self._act(process, "start", begin) and process.alive:
            self._kill(process)  # the database did not answer: the supervisor starts it again

    def do_kill(self, process: Process) -> None:
        if process.alive and self.faulty:
            self.counts["kills"] += 1
            self.note(process.name, "is killed")
            self._kill(process)

    def do_take_down(self, kind: str) -> None:
        """The long outages of a whole kind of process."""
        self.counts[f"{kind} outages"] += 1
        for process in self.processes:
            if process.kind == kind and process.alive:
                self.note(process.name, "is down for long")
                self._kill(process)

    def do_set_clock(self, hours: float) -> None:
        self.counts["clock jumps"] += 1
        self.note("clock", f"is {hours:+} h off")
        self.skew = timedelta(hours=hours)
        self.wake_forwarders()

    def do_forward(self, process: Process, life: int) -> None:
        if not self._may(process, "forward", life):
            return
        if self._act(process, "forward", self._settle):
            due_at = next_due_at(self.database.plain)
            if due_at is not None:
                self._wake(process, "forward", due_at - self.skew + timedelta(milliseconds=1))
        elif process.alive and process.life == life:
            self._wake(process, "forward", self.now + timedelta(seconds=1))

    def _settle(self) -> None:
        settle_once(self.database, self.caller, POLICY, self.clock, self._call_tag())

    def do_issue(self, process: Process, life: int) -> None:
        if not self._may(process, "issue", life):
            return
        if self._act(process, "issue", self._issue):
            following = self._next_issuing()
        else:
            following = self.now + timedelta(seconds=30)
        if following is not None and process.alive and process.life == life:
            # never later than an hour: the clock may be set
            self._wake(process, "issue", min(following, self.now + timedelta(hours=1)))

    def _issue(self) -> None:
        window = read_window(self.database)
        assert window is not None
        issue_due(self.database, self.caller, self.rules, window, self.clock)

    def _next_issuing(self) -> datetime | None:
        window = read_window(self.database.plain)
        assert window is not None
        moments = [window.begins_at(slot) for slot in range(window.slots)]
        moments = [moment for moment in moments if moment > self.clock()]
        waiting = next_batch_at(self.database.plain)
        moments += [waiting] if waiting else []
        if not moments:
            return None
        return max(self.now, min(moments) - self.skew + timedelta(milliseconds=1))

    def do_reconcile(self, process: Process, life: int) -> None:
        if not self._may(process, "reconcile", life):
            return
        self._act(process, "reconcile", self._reconcile)
        if process.alive and process.life == life:
            self._wake(process, "reconcile", self.now + timedelta(seconds=RECONCILE_SECONDS))

    def _reconcile(self) -> None:
        found = reconcile_once(self.database, self.caller, POLICY, self.clock).found
        if found:
            self.counts["found by reconciliation"] += found
            self.wake_forwarders()

    def do_late_effect(self, name: str, elements: list[dict[str, Any]]) -> None:
        """A request that had timed out reaches the bank's books after all."""
        self.note("bank", f"carries out a {name} late")
        create = self.bank.create_invoices if name == "invoices" else self.bank.create_transfers
        create(elements, self.now)

    def do_block(self, reason: str) -> None:
        self.counts["destination blocked"] += 1
        self.note("bank", "blocks the destination")
        self.bank.faults.add({"name": "blocked_destination", "reason": reason})

    def do_unblock(self) -> None:
        self.note("bank", "unblocks the destination")
        self.bank.faults.clear("blocked_destination")

    def do_drain(self, seconds: float) -> None:
        """Somebody empties the account, and fills it up again later."""
        centavos = self.bank.accounts.customer_centavos
        if centavos > 0:
            self.counts["account emptied"] += 1
            self.note("bank", f"the account is emptied of {centavos}")
            self._move_customer(-centavos)
            self.at(self.now + timedelta(seconds=seconds), "refill", centavos)

    def do_refill(self, centavos: int) -> None:
        self.note("bank", f"{centavos} are paid in again")
        self._move_customer(centavos)

    def do_fail_some(self) -> None:
        """The bank fails the next few transfers after it has accepted them."""
        self.counts["failed by the bank"] += 1
        self.note("bank", "fails the next transfers")
        times = self.random.randint(1, 3)
        self.bank.faults.add({"name": "blocked_destination", "reason": "Maintenance", "times": times})

    def do_reverse_some(self, whole: bool) -> None:
        """The bank gives a payer's money back, wholly or in part."""
        reversible = [
            (invoice_id, credited)
            for invoice_id, credited in self.bank.invoices.credited.items()
            if invoice_id not in self.bank.invoices.reversals
            and self.bank.invoices.get(invoice_id)["status"] == "paid"
        ]
        if reversible:
            # the newest are those whose transfer may not be sent yet
            invoice_id, credited = self.random.choice(reversible[-3:])
            remaining = 0 if whole else self.random.randrange(1, max(2, credited.gross_centavos))
            self.counts["reversals"] += 1
            self.note("bank", f"reverses {invoice_id} down to {remaining}")
            try:
                self.bank.invoices.begin_reversal(invoice_id, remaining, self.now, forced=True)
            except Refusal as refusal:
                self.note("bank", f"does not: {refusal}")

    def do_strangers_invoice(self, amount_centavos: int) -> None:
        """Another program of the same workspace issues an invoice; somebody pays it."""
        self.counts["strangers' invoices"] += 1
        element = {"amount": amount_centavos, "name": "Zé das Couves", "taxId": "529.982.247-25"}
        (row,) = self.bank.create_invoices([element], self.now)
        self.at(self.now + timedelta(seconds=200), "pay", row["id"])

    def do_pay(self, invoice_id: str) -> None:
        if self.bank.invoices.get(invoice_id)["status"] == "created":
            self.bank.invoices.pay(invoice_id, self.now)

    def do_second_credit(self) -> None:
        """An invoice is credited again, by another log: only for a person to judge."""
        rows = [row for row in self.bank.invoices.logs.all() if row["type"] == "credited"]
        webs = [process for process in self.processes if process.kind == "web" and process.alive]
        if rows and webs:
            self.counts["second credits"] += 1
            log = dict(self.random.choice(rows), id=f"9{self.random.randrange(10**14):015d}")
            body = {"event": {"id": f"8{log['id']}", "subscription": "invoice", "log": log}}
            self._accept(webs[0], json.dumps(body, sort_keys=True).encode())

    # --- the door -----------------------------------------------------------------------------------------

    def _deliver(self, delivery: Delivery) -> None:
        """What the bank posts: to any web process that is up, as a load balancer would."""
        webs = [process for process in self.processes if process.kind == "web" and process.alive]
        if delivery.forged or not webs or self.plan.loses_delivery(self):
            if not delivery.forged:
                self.counts["deliveries lost"] += 1
                self.bank.events.record(delivery, self.now, "badConnection", "no connection")
            return
        self.counts["deliveries"] += 1
        if delivery.event["log"]["type"] in _IGNORED and self.random.random() < 0.75:
            self.bank.events.record(delivery, self.now)
            return
        process = self.random.choice(webs)
        if self._accept(process, delivery.body):
            self.bank.events.record(delivery, self.now)
        else:
            self.bank.events.record(delivery, self.now, "badHttpStatus", "status 503")

    def _accept(self, process: Process, body: bytes) -> bool:
        def store() -> None:
            arrival = inbox.Arrival(read_event(body), "checked elsewhere")
            (receipt,) = inbox.accept(self.database, [arrival], "webhook", POLICY, self.clock())
            # A failure puts a reissue in line; the forwarder's own tick would find that.
            if receipt.outcome == inbox.Outcome.CREDIT or arrival.event.log_type in ("failed", "canceled"):
                self.wake_forwarders()

        return self._act(process, "door", store)

    # --- small things -------------------------------------------------------------------------------------

    def wake_forwarders(self) -> None:
        """Every web process looks soon: its own events wake it, and a tick shows it those of others."""
        for process in self.processes:
            if process.kind == "web" and process.alive:
                self._wake(process, "forward", self.now + timedelta(seconds=self.random.uniform(0.01, 0.5)))

    def _wake(self, process: Process, part: str, moment: datetime) -> None:
        planned = process.wake_at.get(part)
        if planned is None or moment < planned or planned < self.now:
            process.wake_at[part] = moment
            self.at(moment, part, process, process.life)

    def _may(self, process: Process, part: str, life: int) -> bool:
        if not process.alive or process.life != life:
            return False
        if part in process.busy:
            return False  # it wakes itself when it is done
        if (planned := process.wake_at.get(part)) is not None and planned <= self.now:
            del process.wake_at[part]
        return True

    def _call_tag(self) -> str:
        self._sequence += 1
        return f"call-{self.seed:x}-{self._sequence}"

    def _move_customer(self, centavos: int) -> None:
        self.bank.accounts.move(
            {"customer": centavos, "somebody": -centavos}, self.now, source="somebody", description="moved"
        )

    def _end_faults(self) -> None:
        self.bank.faults.clear(None)
        self.skew = timedelta(0)
        self.note("world", "faults end")
        self.wake_forwarders()

    def _is_quiet(self) -> bool:
        if any(row["status"] in ("created", "processing") for row in self.bank.transfers.rows.all()):
            return False
        statement = read_statement(self.database.plain)
        if statement.batches_planned != self.slots or not statement.is_finished:
            return False
        return statement.credits == len(self.bank.invoices.credited) and not any(
            row["status"] == "created"
            and self.now - datetime.fromisoformat(row["created"]) < timedelta(hours=1)
            for row in self.bank.invoices.rows.all()
        )

    def _unsettled(self) -> str:
        statement = read_statement(self.database.plain)
        return f"{statement.to_json()}; credited at the bank: {len(self.bank.invoices.credited)}"


class _SimulatedDatabase(Database):
    """The real ledger on a real database, whose transactions are gaps. ``plain`` is the same without gaps, ``raw``
    the driver's own connection.
    """

    def __init__(self, world: World, url: str) -> None:
        self.plain = open_database(url)
        if not self.plain.is_postgresql:
            # A crash here is of a process, not of the machine: what was committed is there without syncing.
            event.listen(self.plain.engine, "connect", _no_sync)
        migrate(self.plain)
        plain = self.plain
        super().__init__(plain.engine, plain.url, plain.fault_from, plain.readers)
        self._world = world
        self.raw: Any = (
            psycopg.connect(
                self.plain.url.render_as_string(hide_password=False).replace("+psycopg", ""), autocommit=True
            )
            if self.plain.is_postgresql
            else sqlite3.connect(str(self.plain.url.database), isolation_level=None)
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        self._world.gap("before a commit")
        if self._world.plan.ledger_fails(self._world):
            self._world.counts["ledger unavailable"] += 1
            raise LedgerUnavailable("the database is locked by another program")
        with super().transaction() as connection:
            yield connection
        self._world.gap("after a commit")


def _no_sync(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def play(
    seed: int,
    folder: Path,
    plan_from: Callable[[int], Plan] = Plan,
    keep: list["World"] | None = None,
    crash_at_gap: int | None = None,
    rules: IssuingRules = RULES,
    slots: int = SLOTS,
    lasts: timedelta = FAULTS_END_AFTER,
    database_url: str | None = None,
) -> World:
    """Play one seed in ``folder``, or on the empty books at ``database_url``. Returns its world, also in ``keep``.

    Raises Broken with the seed.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    world = World(seed, plan_from(seed), folder, crash_at_gap, rules, slots, lasts, database_url)
    if keep is not None:
        keep.append(world)
    try:
        world.run()
    except (AssertionError, SQLAlchemyError, sqlite3.Error) as error:
        raise Broken(f"seed {seed}: {type(error).__name__}: {error}") from error
    return world
