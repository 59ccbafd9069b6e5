"""The calls around the main ones: balance, statement, deposits, Pix keys, workspaces, institutions, the key.

Handlers for `routes`, with the same manners.
"""

from __future__ import annotations

from collections.abc import Callable

from emulator.behaviour.bank import Bank
from emulator.books import deposits, dict_keys, institutions, split_profiles
from emulator.books.refusal import Refusal
from emulator.books.table import Row
from emulator.protocol import filters
from emulator.protocol.credentials import Credentials
from emulator.protocol.documents import Document
from emulator.protocol.pdf_content import reversal_paper
from emulator.protocol.request import Answer, Call, log_of, logs_of, page_of, status_filter, within

# --- balance, transaction ---------------------------------------------------------------------------------


def _get_balance(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"balances": filters.trim([bank.accounts.balance], call.query), "cursor": None}


def _get_transactions(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    chosen = within(call, tags="tags", externalId="externalIds")
    ids = filters.words(call.query, "ids")
    return page_of(call, bank.accounts.transactions, "transactions", within=chosen, ids=ids)


def _get_transaction(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.accounts.transactions.get(call.id)
    if row is None:
        # Guess by analogy.
        raise Refusal.of("invalidTransaction", f"No transaction has the id {call.id[:100]}")
    return {"transaction": row}


# --- deposit ----------------------------------------------------------------------------------------------


def _get_deposits(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    keep = status_filter(call, deposits.STATUSES, "invalidDeposit")
    sort = (filters.words(call.query, "sort", deposits.SORTS, "invalidSort") or ["-created"])[0]
    ids = filters.words(call.query, "ids")
    chosen = within(call, tags="tags")
    return page_of(call, bank.deposits.rows, "deposits", within=chosen, keep=keep, ids=ids, sort=sort)


def _get_deposit(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"deposit": bank.deposits.get(call.id)}


def _patch_deposit(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.deposits.patch(call.id, call.json(), call.now)
    return {"message": "Deposit successfully updated", "deposit": row}


def _get_deposit_logs(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    table = bank.deposits.logs
    return logs_of(call, table, deposits.LOG_TYPES, "invalidDepositLog", "depositId", "depositIds")


def _get_deposit_log(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return log_of(bank.deposits.logs, call, "invalidDepositLog")


def _get_deposit_log_pdf(bank: Bank, credentials: Credentials, call: Call) -> Document:
    log = log_of(bank.deposits.logs, call, "invalidDepositLog")["log"]
    return reversal_paper(log, "deposit", "invalidDepositLog")


# --- dict key ---------------------------------------------------------------------------------------------


def _get_dict_keys(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    status = status_filter(call, dict_keys.STATUSES, "invalidDictKey")
    types = filters.words(call.query, "type", dict_keys.TYPES, "invalidDictKey")

    def keep(row: Row) -> bool:
        return (status is None or status(row)) and (types is None or row["type"] in types)

    ids = filters.words(call.query, "ids")
    return page_of(call, bank.dict_keys.rows, "keys", keep=keep, ids=ids)


def _get_dict_key(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"key": bank.dict_keys.get("/".join(call.segments[1:]))}


# --- workspace --------------------------------------------------------------------------------------------


def _post_workspace(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    # Documented: only an organization can. Guess: the code.
    if not call.caller.startswith("organization/"):
        raise Refusal.of("invalidCredentials", "Only an organization can create workspaces")
    row = bank.workspaces.create(call.json(), call.now)
    return {"message": "Workspace successfully created", "workspace": row}


def _get_workspaces(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    ids = filters.words(call.query, "ids")
    name = call.query.get("username")
    named = None if not name else {row["id"] for row in bank.workspaces.named(name)}
    # Documented: those that the credentials have access to; a project has one.
    own = None if call.caller.startswith("organization/") else bank.workspace_id

    def keep(row: Row) -> bool:
        return (named is None or row["id"] in named) and (own is None or row["id"] == own)

    return page_of(call, bank.workspaces.rows, "workspaces", keep=keep, ids=ids)


def _get_workspace(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"workspace": bank.workspaces.get(call.id)}


def _patch_workspace(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    row = bank.workspaces.patch(call.id, call.json(), call.now)
    return {"message": "Workspace successfully updated", "workspace": row}


# --- split profile ----------------------------------------------------------------------------------------


def _put_split_profile(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    rows = bank.split_profiles.put(call.elements("profiles"), call.now)
    return {"message": "Split profile successfully updated", "profiles": rows}


def _get_split_profiles(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    keep = status_filter(call, split_profiles.STATUSES, "invalidSplitProfile")
    chosen = within(call, tags="tags")
    ids = filters.words(call.query, "ids")
    return page_of(call, bank.split_profiles.rows, "profiles", within=chosen, keep=keep, ids=ids)


def _get_split_profile(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"profile": bank.split_profiles.get(call.id)}


# --- institution, public key ------------------------------------------------------------------------------


def _get_institutions(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    found = institutions.search(
        call.query.get("search") or "",
        filters.words(call.query, "spiCodes"),
        filters.words(call.query, "strCodes"),
    )
    return {"institutions": filters.trim(found[: filters.limit(call.query)], call.query), "cursor": None}


def _get_public_keys(bank: Bank, credentials: Credentials, call: Call) -> Answer:
    return {"publicKeys": credentials.public_keys()[: filters.limit(call.query)], "cursor": None}


MORE_ROUTES: dict[tuple[str, str], Callable[[Bank, Credentials, Call], Answer | Document]] = {
    ("GET", "balance"): _get_balance,
    ("GET", "transaction"): _get_transactions,
    ("GET", "transaction/{id}"): _get_transaction,
    ("GET", "deposit"): _get_deposits,
    ("GET", "deposit/{id}"): _get_deposit,
    ("PATCH", "deposit/{id}"): _patch_deposit,
    ("GET", "deposit/log"): _get_deposit_logs,
    ("GET", "deposit/log/{id}"): _get_deposit_log,
    ("GET", "deposit/log/{id}/pdf"): _get_deposit_log_pdf,
    ("GET", "dict-key"): _get_dict_keys,
    ("GET", "dict-key/{id}"): _get_dict_key,
    ("POST", "workspace"): _post_workspace,
    ("GET", "workspace"): _get_workspaces,
    ("GET", "workspace/{id}"): _get_workspace,
    ("PATCH", "workspace/{id}"): _patch_workspace,
    ("PUT", "split-profile"): _put_split_profile,
    ("GET", "split-profile"): _get_split_profiles,
    ("GET", "split-profile/{id}"): _get_split_profile,
    ("GET", "institution"): _get_institutions,
    ("GET", "public-key"): _get_public_keys,
}
