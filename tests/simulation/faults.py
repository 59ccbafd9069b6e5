"""What goes wrong on a simulated day: drawn from the seed, so that every day is bad in its own way.

About half of the kinds are on in any one day, each at a rate of its own; days with one kind alone occur too.
"""

from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.world import World

_DAY = 86_400.0

CALL_FAULTS = ("no connection", "throttled", "lost request", "late request", "lost answer", "refused caller")


class Plan:
    """The faults of one seed. ``calm`` switches all of them off."""

    def __init__(self, seed: int, calm: bool = False) -> None:
        self._random = draw = Random(f"plan:{seed}")
        self.calm = calm
        # Every third day has few kinds of fault, but those again and again.
        self._focus = not calm and draw.random() < 0.33
        self.webs = 1 if calm else draw.choice((1, 1, 1, 2))
        self.workers = 1 if calm else draw.choice((1, 1, 2))
        self.fee_centavos = draw.choice((0, 0, 35, 250))
        self.two_webhooks = not calm and draw.random() < 0.2
        # Reversals take money that was forwarded; an account that can bear it is needed for all else to settle.
        self.opening_balance_centavos = 5_000_000
        self._rates = {fault: self._rate(0.5, 0.3) for fault in CALL_FAULTS}
        self._empty_page_rate = self._rate(0.5, 0.3)
        self._crash_rate = min(0.05, self._rate(0.6, 0.02))
        self._delivery_loss_rate = self._rate(0.5, 0.5)
        self._ledger_rate = self._rate(0.4, 0.05)
        self._outages: dict[str, tuple[datetime, datetime]] = {}
        self._call_outages: list[tuple[str, datetime, datetime]] = []

    def arrange(self, world: "World") -> None:
        """Put the day's single mishaps on the agenda."""
        if self.calm:
            return
        draw = self._random
        for kind, longest_hours in (("web", 12.0), ("worker", 11.0)):
            if draw.random() < 0.3:
                begins = world.now + timedelta(seconds=draw.uniform(0, _DAY * 0.6))
                ends = begins + timedelta(hours=draw.uniform(0.5, longest_hours))
                self._outages[kind] = (begins, ends)
                world.at(begins, "take_down", kind)
        for prefix in ("send transfers", "find", "create invoices", "", "transfer"):
            if draw.random() < 0.15:
                begins = world.now + timedelta(seconds=draw.uniform(0, _DAY))
                ends = begins + timedelta(seconds=draw.uniform(60, 2 * 3600))
                self._call_outages.append((prefix, begins, min(ends, world.faults_end_at)))
        self._scatter(world, 0.2, 3, "set_clock", lambda: (draw.choice((-1.0, 1.0, 0.0)),))
        if draw.random() < 0.2:
            begins = world.now + timedelta(seconds=draw.uniform(0, _DAY / 2))
            world.at(begins, "block", draw.choice(("Account blocked", "Institution unavailable")))
            world.at(begins + timedelta(seconds=draw.uniform(60, _DAY)), "unblock")
        self._scatter(world, 0.2, 2, "drain", lambda: (draw.uniform(60, 6 * 3600),))
        self._scatter(world, 0.3, 6, "fail_some", lambda: ())
        self._scatter(world, 0.3, 8, "reverse_some", lambda: (draw.random() < 0.5,))
        self._scatter(world, 0.3, 4, "strangers_invoice", lambda: (draw.choice((10, 36, 5_000, 5_000)),))
        self._scatter(world, 0.2, 2, "second_credit", lambda: ())
        if draw.random() < 0.5:
            for process in world.processes:
                for _ in range(draw.randrange(6)):
                    world.at(world.now + timedelta(seconds=draw.uniform(0, _DAY)), "kill", process)
        if draw.random() < 0.2:  # four restarts in a minute
            worker = next(process for process in world.processes if process.kind == "worker")
            begins = world.now + timedelta(seconds=draw.uniform(0, _DAY))
            for number in range(4):
                world.at(begins + timedelta(seconds=15 * number), "kill", worker)
        for name, options in (
            ("duplicate_delivery", {"count": 4}),
            ("reorder", {"seconds": draw.choice((60.0, 3600.0, 20 * 3600.0))}),
            ("forge_signature", {}),
            ("drop_delivery", {}),
        ):
            rate = self._rate(0.4, 0.5)
            if rate:
                world.bank.faults.add({"name": name, "rate": rate, **options})
                world.counts[f"days with {name}"] += 1

    def fault_of_call(self, world: "World", name: str) -> str | None:
        """Which fault, if any, strikes a call."""
        if self.calm or not world.faulty:
            return None
        for prefix, begins, ends in self._call_outages:
            if begins <= world.now < ends and name.startswith(prefix):
                return world.random.choice(("no connection", "lost request", "throttled"))
        for fault, rate in self._rates.items():
            if rate and world.random.random() < rate:
                return fault
        return None

    def hides_page(self, world: "World") -> bool:
        """Whether a look-up is answered with an empty page by mistake."""
        return self._strikes(world, self._empty_page_rate)

    def dies_in_gap(self, world: "World") -> bool:
        """Whether the process that acts dies in this gap."""
        return self._strikes(world, self._crash_rate)

    def loses_delivery(self, world: "World") -> bool:
        """Whether a delivery does not arrive."""
        return self._strikes(world, self._delivery_loss_rate)

    def ledger_fails(self, world: "World") -> bool:
        """Whether the database does not answer."""
        return self._strikes(world, self._ledger_rate)

    def restart_after(self, world: "World") -> float:
        """How many seconds until a dead process is started again."""
        return world.random.choice((1.0, 5.0, 30.0, 300.0))

    def is_down(self, kind: str, now: datetime) -> bool:
        """Whether a kind of process is kept down."""
        begins, ends = self._outages.get(kind, (now, now))
        return begins <= now < ends

    def _rate(self, share_of_days: float, highest: float) -> float:
        on = self._random.random() < share_of_days * (0.6 if self._focus else 1)
        rate = min(0.9, self._random.random() ** 2 * highest * (4 if self._focus else 1))
        return rate if on and not self.calm else 0.0

    def _strikes(self, world: "World", rate: float) -> bool:
        return bool(rate) and world.faulty and world.random.random() < rate

    def _scatter(self, world: "World", share_of_days: float, most: int, act: str, args: object) -> None:
        if self._random.random() < share_of_days:
            for _ in range(self._random.randint(1, most)):
                moment = world.now + timedelta(seconds=self._random.uniform(0, _DAY))
                world.at(moment, act, *args())  # type: ignore[operator]
