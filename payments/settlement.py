"""Settlement: takes transfers that are due and brings them to the bank, once.

Claim (commit), ask the bank about what may already be there, send the rest in one call, record (commit).
No transaction is open during a call. If we die before the call, the lease runs out and the look-up finds nothing:
it is sent. If we die after it, or its answer never comes, the look-up finds it: it is adopted. This module knows
neither SQL nor the SDK, and never concludes anything from a missing answer.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from payments.errors import BankError, NotSent, Rejected, Throttled
from payments.event import read_log
from payments.ledger import inbox, transfers
from payments.ledger.transfers import Claim, LookupVerdict
from payments.note import note, note_of
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from payments.transfer import TRANSFERS_PER_CALL_MAX, BankTransfer, TransferOrder, lineage_for, says_duplicate

log = structlog.get_logger()


class TransferBank(Protocol):
    """What settlement needs of the bank. Every method raises BankError and nothing else."""

    timeout_seconds: float  # the longest that one call can take

    def send_transfers(self, orders: Sequence[TransferOrder]) -> dict[str, BankTransfer]:
        """Create them in one call; the bank's transfers by our external_id."""
        ...

    def find_transfers(self, tag: str) -> list[BankTransfer]:
        """Every transfer that carries the tag."""
        ...

    def transfer_logs(self, transfer_ids: Sequence[str]) -> Iterable[bytes]:
        """The raw logs of these transfers."""
        ...


@dataclass(slots=True)
class Settlement:
    """What one run did, in transfers."""

    claimed: int = 0
    sent: int = 0
    found: int = 0
    failed: int = 0
    unclear: int = 0
    released: int = 0
    refused: int = 0
    stopped: int = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """The counts by name, without the claims."""
        return {name: count for name, count in asdict(self).items() if name != "claimed"}

    @property
    def is_idle(self) -> bool:
        """True when nothing was due."""
        return self.claimed == 0

    @property
    def has_more(self) -> bool:
        """True when a whole call's worth was due, so that more may be waiting."""
        return self.claimed == TRANSFERS_PER_CALL_MAX


def settle_once(
    database: Database,
    bank: TransferBank,
    policy: ForwardingPolicy,
    clock: Callable[[], datetime],
    call_tag: str,
) -> Settlement:
    """Settle up to one call's worth of transfers that are due. ``clock`` returns the time in UTC.

    ``call_tag``, new for each run, marks what is sent in its call, so that a crash can be looked up by it.

    Raises LedgerUnavailable; what was claimed is then looked up when its lease has ended.
    """
    run = _Run(database, bank, policy, clock, call_tag, Settlement())
    claims = transfers.claim(database, run.call_tag, policy, TRANSFERS_PER_CALL_MAX, clock())
    run.counts.claimed = len(claims)
    # The new ones first, in a call of their own: slow look-ups of others must not cost them their lease.
    if fresh := [claim for claim in claims if claim.is_fresh]:
        run.send(fresh)
    if (others := [claim for claim in claims if not claim.is_fresh]) and (ready := run.look_up(others)):
        run.send(ready)
    return run.counts


@dataclass(frozen=True, slots=True)
class _Run:
    database: Database
    bank: TransferBank
    policy: ForwardingPolicy
    clock: Callable[[], datetime]
    call_tag: str
    counts: Settlement

    def look_up(self, claims: Sequence[Claim]) -> list[Claim]:
        """Ask the bank about transfers that it may already have; return those that it surely has not."""
        by_tag: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_tag[claim.look_up_tag].append(claim)
        ready: list[Claim] = []
        for tag, group in by_tag.items():
            # A look-up must leave time for the sending that may follow it, or a long backlog would be looked up again
            # and again and never sent.
            if not self._has_time(group, calls=2):
                self._release_untried(group, note("no_time_to_ask"))
                continue
            try:
                found = self.bank.find_transfers(tag)
                ready += self._judge(group, found)
            except BankError as error:
                # A look-up that fails proves nothing: do nothing now.
                self._release_for(group, error, "looking_up")
        return ready

    def _judge(self, group: Sequence[Claim], found: Sequence[BankTransfer]) -> list[Claim]:
        lookups = [
            (claim, [there for there in found if lineage_for(claim.invoice_id) in there.tags])
            for claim in group
        ]
        verdicts = self._record_lookups(lookups)
        unexplained = [
            (lookup, verdict.ask_why)
            for lookup, verdict in zip(lookups, verdicts, strict=True)
            if verdict.ask_why
        ]
        if unexplained:
            self._read_reasons([bank_id for _, bank_ids in unexplained for bank_id in bank_ids])
            second = self._record_lookups([lookup for lookup, _ in unexplained])
            for (lookup, _), verdict in zip(unexplained, second, strict=True):
                if verdict.ask_why:
                    self._give_back(lookup[0], note("why_unknown", id=verdict.ask_why[0]))
            verdicts += second
        return [verdict.to_send for verdict in verdicts if verdict.to_send is not None]

    def _record_lookups(self, lookups: Sequence[tuple[Claim, Sequence[BankTransfer]]]) -> list[LookupVerdict]:
        verdicts = transfers.record_lookups(self.database, lookups, self.call_tag, self.policy, self.clock())
        for (claim, _), verdict in zip(lookups, verdicts, strict=True):
            log.info(
                "transfer.looked_up",
                external_id=claim.external_id,
                invoice_id=claim.invoice_id,
                outcome=verdict.outcome,
            )
            self.counts.found += verdict.outcome == "found"
            self.counts.failed += verdict.outcome == "failed"
            self.counts.stopped += verdict.outcome == "stopped"
            self.counts.released += verdict.outcome == "released"
        return verdicts

    def _read_reasons(self, bank_transfer_ids: Sequence[str]) -> None:
        """Fetch the logs of failed transfers, and record them like any other report."""
        arrivals = [
            inbox.Arrival(read_log("transfer", body)) for body in self.bank.transfer_logs(bank_transfer_ids)
        ]
        inbox.accept(self.database, arrivals, "reconciliation", self.policy, self.clock())

    def send(self, claims: Sequence[Claim]) -> None:
        """Send claims in one call and record what came of it."""
        if not self._has_time(claims):
            self._release_untried(claims, note("no_time_to_send"))
            return
        try:
            accepted = self.bank.send_transfers([claim.order for claim in claims])
        except Rejected as error:
            self._handle_rejection(claims, error)
        except (NotSent, Throttled) as error:
            self._release_for(claims, error, "sending")
        except BankError as error:
            self.counts.unclear += len(claims)
            log.warning("transfer.outcome_unclear", count=len(claims), call=self.call_tag, reason=str(error))
            transfers.record_unclear(self.database, claims, note_of(error), self.policy, self.clock())
        else:
            recorded = transfers.record_sent(self.database, claims, accepted, self.policy, self.clock())
            self.counts.sent += recorded
            for claim in claims:
                log.info(
                    "transfer.sent",
                    external_id=claim.external_id,
                    invoice_id=claim.invoice_id,
                    transfer_id=accepted[claim.external_id].id,
                    net_centavos=claim.amount_centavos,
                )

    def _handle_rejection(self, claims: Sequence[Claim], error: Rejected) -> None:
        """Nothing of the call was done. Find out which transfer is at fault, by halves; never drop one.

        Inferred: a refused batch is refused whole, and ``errors`` does not say which element (facts sheet 2.4).
        Should the bank have taken a part all the same, the same external_ids make the repeat harmless.
        """
        if error.concerns_caller:
            self._release_for(claims, error, "sending", is_caller_refused=True)
        elif len(claims) > 1:
            middle = len(claims) // 2
            self.send(claims[:middle])
            self.send(claims[middle:])
        elif error.concerns_balance or says_duplicate([str(refusal) for refusal in error.refusals]):
            # A duplicate has a twin: the look-up that comes first next time finds it.
            self._release_for(claims, error, "sending")
        else:
            self.counts.refused += 1
            log.error("transfer.refused", external_id=claims[0].external_id, reason=str(error))
            transfers.refuse(self.database, claims[0], note_of(error), self.policy, self.clock())

    def _release_for(
        self, claims: Sequence[Claim], error: BankError, doing: str, *, is_caller_refused: bool = False
    ) -> None:
        wait = error.retry_after_seconds if isinstance(error, Throttled) else None
        reason = note(doing, why=note_of(error))
        self._note_release(claims, reason)
        transfers.release(
            self.database,
            claims,
            reason,
            self.policy,
            self.clock(),
            wait_seconds=wait or 0,
            is_caller_refused=is_caller_refused,
        )

    def _give_back(self, claim: Claim, reason: str) -> None:
        self._note_release([claim], reason)
        transfers.release(self.database, [claim], reason, self.policy, self.clock())

    def _release_untried(self, claims: Sequence[Claim], reason: str) -> None:
        self._note_release(claims, reason)
        transfers.release(self.database, claims, reason, self.policy, self.clock(), was_tried=False)

    def _note_release(self, claims: Sequence[Claim], reason: str) -> None:
        self.counts.released += len(claims)
        log.warning("transfer.released", count=len(claims), reason=reason)

    def _has_time(self, claims: Sequence[Claim], calls: int = 1) -> bool:
        """A call must end before the lease does, or someone else might act on the same transfer meanwhile."""
        ends_at = self.clock() + calls * timedelta(seconds=self.bank.timeout_seconds)
        return all(ends_at < claim.lease_expires_at for claim in claims)
