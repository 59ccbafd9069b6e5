"""The bank as our code calls it, on the emulator's books and virtual time, with answers that get lost."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from emulator.books.refusal import Refusal as BankRefusal
from payments.errors import NotSent, Refusal, Rejected, Throttled, Unclear
from payments.invoice import BankInvoice, InvoiceOrder
from payments.transfer import BankTransfer, TransferOrder

if TYPE_CHECKING:
    from tests.simulation.world import World

Answer = TypeVar("Answer")


class SimulatedBank:
    """Every method is one request: a gap before it, time within it, a gap after it."""

    timeout_seconds = 15.0

    def __init__(self, world: "World") -> None:
        self._world = world

    def create_invoices(self, orders: Sequence[InvoiceOrder]) -> list[BankInvoice]:
        elements: list[dict[str, Any]] = [
            {
                "amount": order.amount_centavos,
                "name": order.payer.name,
                "taxId": order.payer.tax_id,
                "tags": list(order.tags),
            }
            for order in orders
        ]
        return self._call(
            "create invoices",
            lambda: [_invoice(row) for row in self._bank.create_invoices(elements, self._world.now)],
            late=("invoices", elements),
        )

    def find_invoices(self, tag: str) -> list[BankInvoice]:
        return self._call(
            "find invoices", lambda: [_invoice(row) for row in self._bank.invoices.rows.having("tags", tag)]
        )

    def send_transfers(self, orders: Sequence[TransferOrder]) -> dict[str, BankTransfer]:
        elements: list[dict[str, Any]] = [
            {
                "amount": order.amount_centavos,
                "name": order.destination.name,
                "taxId": order.destination.tax_id,
                "bankCode": order.destination.bank_code,
                "branchCode": order.destination.branch_code,
                "accountNumber": order.destination.account_number,
                "accountType": order.destination.account_type,
                "externalId": order.external_id,
                "tags": list(order.tags),
            }
            for order in orders
        ]

        def send() -> dict[str, BankTransfer]:
            rows = self._bank.create_transfers(elements, self._world.now)
            return {row["externalId"]: _transfer(row) for row in rows}

        return self._call("send transfers", send, late=("transfers", elements))

    def find_transfers(self, tag: str) -> list[BankTransfer]:
        def find() -> list[BankTransfer]:
            if self._world.plan.hides_page(self._world):
                self._world.counts["empty pages"] += 1
                return []
            return [_transfer(row) for row in self._bank.transfers.rows.having("tags", tag)]

        return self._call("find transfers", find)

    def transfer_logs(self, transfer_ids: Sequence[str]) -> list[bytes]:
        return self._call(
            "transfer logs",
            lambda: [
                msgspec.json.encode(log)
                for bank_id in transfer_ids
                for log in self._bank.transfers.logs.having("transferId", bank_id)
            ],
        )

    def invoice_logs(self, types: Sequence[str], after: date) -> list[bytes]:
        since = after.isoformat()
        return self._call(
            "invoice logs",
            lambda: [
                msgspec.json.encode(log)
                for log_type in types
                for log in self._bank.invoices.logs.having("type", log_type)
                if log["created"] >= since
            ],
        )

    def undelivered_events(self) -> list[bytes]:
        return self._call(
            "undelivered events",
            lambda: [
                msgspec.json.encode({"event": self._bank.events.rows.find(event_id)})
                for event_id in self._bank.events.undelivered
            ],
        )

    def mark_delivered(self, event_id: str) -> None:
        self._call("mark delivered", lambda: self._bank.events.patch(event_id, {"isDelivered": True}))

    @property
    def _bank(self) -> Any:
        return self._world.bank

    def _call(
        self,
        name: str,
        effect: Callable[[], Answer],
        late: tuple[str, list[dict[str, Any]]] | None = None,
    ) -> Answer:
        world = self._world
        world.gap(f"before it can {name}")
        fault = world.plan.fault_of_call(world, name)
        if fault is not None:
            world.counts[fault] += 1
            world.note("bank", f"{fault}: {name}")
        world.pass_time(world.random.uniform(0.02, 0.4))
        if fault == "no connection":
            raise NotSent("connection refused")
        if fault == "throttled":
            raise Throttled(world.random.choice((None, 30.0, 900.0)))
        if fault == "lost request":
            world.pass_time(self.timeout_seconds)
            raise Unclear("no answer within 15 s")
        if fault == "late request" and late is not None:
            # It may be carried out after we gave up waiting, yet before the lease of 60 s is over: what comes
            # later than that no client can tell from never.
            world.at(world.now + timedelta(seconds=world.random.uniform(1, 30)), "late_effect", *late)
            world.pass_time(self.timeout_seconds)
            raise Unclear("no answer within 15 s")
        if fault == "refused caller":
            raise Rejected((Refusal("invalidCredentials", "the signature does not match"),))
        try:
            answer = effect()
        except BankRefusal as refusal:
            raise Rejected(tuple(Refusal(*each) for each in refusal.errors)) from None
        if fault in ("lost answer", "late request"):
            world.pass_time(world.random.choice((0.0, self.timeout_seconds)))
            raise Unclear("the answer was lost")
        world.gap(f"after it could {name}")
        return answer


def _invoice(row: dict[str, Any]) -> BankInvoice:
    return BankInvoice(row["id"], row["status"], row["amount"], tuple(row["tags"]))


def _transfer(row: dict[str, Any]) -> BankTransfer:
    return BankTransfer(
        id=row["id"],
        external_id=row["externalId"],
        status=row["status"],
        amount_centavos=row["amount"],
        bank_code=row["bankCode"],
        branch_code=row["branchCode"],
        account_number=row["accountNumber"],
        tax_id=row["taxId"],
        tags=tuple(row["tags"]),
    )
