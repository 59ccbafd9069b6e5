"""What ours is measured against: the limit of the stack, and the straightforward way of the official SDK."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import requests
import starkbank
import starkcore.utils.rest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def create_bare() -> Starlette:
    """Reads the body and answers: nothing is checked, stored or forwarded."""
    return Starlette(routes=[Route("/webhooks/starkbank", _read, methods=["POST"])])


async def _read(request: Request) -> Response:
    await request.body()
    return JSONResponse({"received": True})


def create_straightforward() -> Starlette:
    """``event.parse``, a row in SQLite, the answer, then ``transfer.create`` in the pool of threads.

    It forwards once as long as nothing fails; a crash between the row and the call loses the credit.
    """
    way = _Straightforward(Path(os.environ["BENCH_FOLDER"]) / "straightforward.db")
    return Starlette(routes=[Route("/webhooks/starkbank", way.receive, methods=["POST"])])


class _Straightforward:
    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(
                "CREATE TABLE IF NOT EXISTS credits (invoice_id TEXT PRIMARY KEY, amount INTEGER, transfer_status TEXT)"
            )
        self._project = starkbank.Project(
            id=os.environ["STARKBANK_PROJECT_ID"],
            environment="sandbox",
            private_key=Path(os.environ["STARKBANK_PRIVATE_KEY_PATH"]).read_text(),
        )
        # The one thing that no user would write: the SDK's host is fixed, and the bench's bank is another.
        starkcore.utils.rest.get, starkcore.utils.rest.post = _sent_by(requests.get), _sent_by(requests.post)

    async def receive(self, request: Request) -> Response:
        body = (await request.body()).decode()
        invoice = await run_in_threadpool(self._store, body, request.headers["digital-signature"])
        return JSONResponse({"received": True}, background=invoice and BackgroundTask(self._forward, invoice))

    def _store(self, body: str, signature: str) -> Any:
        """The invoice, when it is to be forwarded."""
        event = starkbank.event.parse(body, signature, user=self._project)
        with self._connect() as database:
            if event.subscription == "transfer":
                database.execute(
                    "UPDATE credits SET transfer_status = ? WHERE invoice_id = ?",
                    (event.log.type, event.log.transfer.external_id.removeprefix("credit-")),
                )
            elif event.log.type == "credited":
                invoice = event.log.invoice
                stored = database.execute(
                    "INSERT OR IGNORE INTO credits VALUES (?, ?, NULL)",
                    (invoice.id, invoice.amount - invoice.fee),
                )
                return invoice if stored.rowcount else None
        return None

    def _forward(self, invoice: Any) -> None:
        transfer = starkbank.Transfer(
            amount=invoice.amount - invoice.fee,
            name="Stark Bank S.A.",
            tax_id="20.018.183/0001-80",
            bank_code="20018183",
            branch_code="0001",
            account_number="6341320293482496",
            account_type="payment",
            external_id=f"credit-{invoice.id}",
        )
        starkbank.transfer.create([transfer], user=self._project)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=30)


def _sent_by(method: Any) -> Any:
    def send(url: str, **options: Any) -> Any:
        return method(
            url.replace("https://sandbox.api.starkbank.com", os.environ["STARKBANK_API_URL"]), **options
        )

    return send
