"""What must hold: at every step on our books and the bank's, and at the end of the day to the centavo."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from payments.operator.statement import recount_statement

if TYPE_CHECKING:
    from tests.simulation.world import World

_UNACCOUNTED = """
SELECT (SELECT coalesce(sum(net_centavos - withheld_centavos), 0) FROM credits WHERE disposition = 'forward')
     - (SELECT coalesce(sum(amount_centavos), 0) FROM transfers
        WHERE state IN ('pending', 'sending', 'sent', 'settled', 'dead'))
"""


def check_step(world: "World") -> None:
    """Cheap enough for every step: our sums are whole, and the bank pays no credit twice."""
    (difference,) = world.database.raw.execute(_UNACCOUNTED).fetchone()
    if difference:
        raise _broken(f"our books do not balance: {difference} centavos are not accounted for")
    check_no_double_payment(world)


def check_no_double_payment(world: "World") -> None:
    """At most one transfer of a credit has ever moved money at the bank."""
    log_count = len(world.bank.transfers.logs)
    if log_count == world.counts["_transfer_logs_seen"]:
        return
    world.counts["_transfer_logs_seen"] = log_count
    moved: Counter[str] = Counter()
    for row in world.bank.transfers.rows.all():
        if row["status"] in ("processing", "success"):
            moved[_lineage(row)] += 1
    for lineage, count in moved.items():
        if count > 1:
            raise _broken(f"{lineage} is paid {count} times")


def check_end(world: "World") -> None:
    """Every credit is forwarded once at what it owes, nothing else is, and every slot has its batch."""
    check_step(world)
    statement = recount_statement(world.database.plain)
    if not statement.balanced:
        raise _broken("the statement does not balance")
    _check_payments(world)
    _check_batches(world)


def _check_payments(world: "World") -> None:
    arrived: dict[str, list[int]] = defaultdict(list)
    for row in world.bank.transfers.rows.all():
        if row["status"] == "success":
            arrived[_lineage(row)].append(row["amount"])
    reversed_ids = set(world.bank.invoices.reversals) | set(world.bank.invoices.reversed_centavos)
    for invoice_id, credited in world.bank.invoices.credited.items():
        amounts = arrived.pop(f"credit-{invoice_id}", [])
        if invoice_id in reversed_ids:
            # Reversed before it was sent, in part or whole, or only after: all within what came in, and once.
            if len(amounts) > 1 or sum(amounts) > max(0, credited.net_centavos):
                raise _broken(f"{invoice_id} was reversed and {amounts} forwarded of {credited.net_centavos}")
        elif amounts != ([credited.net_centavos] if credited.net_centavos > 0 else []):
            raise _broken(
                f"{invoice_id}: {credited.net_centavos} were to be forwarded, the bank paid {amounts}; "
                f"our transfers: {_ours(world, invoice_id)}"
            )
    if arrived:
        raise _broken(f"paid without a credit: {dict(arrived)}")


def _check_batches(world: "World") -> None:
    sizes: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    for row in world.bank.invoices.rows.all():
        ours = [tag for tag in row["tags"] if tag.startswith("repasse-")]
        if ours:
            own = max(ours, key=len)
            tags[own] += 1
            sizes[own.rpartition("-")[0]] += 1
    twice = [tag for tag, count in tags.items() if count > 1]
    if twice:
        raise _broken(f"issued twice: {twice}")
    rules = world.rules
    if len(sizes) != world.slots or not all(
        rules.per_batch_min <= n <= rules.per_batch_max for n in sizes.values()
    ):
        raise _broken(f"batches at the bank: {dict(sizes)}")


def _lineage(row: dict[str, Any]) -> str:
    external_id: str = row["externalId"]
    return "-".join(external_id.split("-")[:2])


def _ours(world: "World", invoice_id: str) -> list[Any]:
    rows: list[Any] = world.database.raw.execute(
        "SELECT external_id, state, attempt, amount_centavos, reason FROM transfers "
        f"WHERE invoice_id = '{invoice_id}'"
    ).fetchall()
    return rows


def _broken(text: str) -> Exception:
    from tests.simulation.world import Broken

    return Broken(text)
