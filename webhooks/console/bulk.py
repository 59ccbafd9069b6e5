"""Retry or abandon every transfer that a filter shows: asked once, done one by one.

The page lists the transfers that it asks about, and exactly those are tried: one that turns up in between is not. Each
is an action of its own, guarded, recorded and committed by itself, so that a process that dies in the middle leaves
every transfer either done and on record or as it was; the filter then shows what is left, and doing it again is
harmless. What is refused is reported with its reason and keeps none of the others from being done.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from payments.errors import ActionRefused, LedgerUnavailable
from payments.language import N_
from payments.note import Note, read_note
from payments.operator.actions import Operator
from payments.operator.labels import STATE_ACTIONS, Label, label, labels_of
from payments.operator.lists import TRANSFERS, TransferLine
from payments.operator.perform import perform
from payments.operator.wording import note_text
from payments.policy import ForwardingPolicy
from payments.storage.database import Database
from webhooks.console.context import Context, read_form, who_acts
from webhooks.console.lists import Asked
from webhooks.console.urls import HOME

log = structlog.get_logger()

# As many as one call to the bank takes. More are done by asking again.
TRANSFERS_MAX = 100


class Tried(NamedTuple):
    """What became of one transfer. ``is_done`` False: it was refused, not tried, or not confirmed by the database."""

    external_id: str
    is_done: bool
    result: Note


class BulkPages:
    """Confirms one action for many transfers and does it."""

    def __init__(
        self,
        context: Context,
        policy: ForwardingPolicy,
        wake_forwarder: Callable[[], None],
        clock: Callable[[], datetime],
        asked_of: Callable[[Request], Asked],
    ) -> None:
        """``asked_of`` reads from an address what the list of transfers is narrowed to."""
        self._context = context
        self._asked_of = asked_of
        self._policy = policy
        self._wake_forwarder = wake_forwarder
        self._clock = clock

    @property
    def routes(self) -> list[Route]:
        """One page to ask, and the same address to do it."""
        path = f"{HOME}/bulk/{{kind}}"
        return [
            Route(path, self._context.for_operators(self.ask), methods=["GET"]),
            Route(path, self._context.for_operators(self.do), methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Show what it would be done to, and ask for the reason."""
        _, asked = self._requested(request)

        def page(each: Request) -> Response:
            found = TRANSFERS.read(self._context.database, None, asked.where, asked.choice, TRANSFERS_MAX)
            lines = [line for line in found.items if _may_be_tried(line, each, self._context)]
            external_ids = [line.external_id for line in lines]
            who = request.state.session.who
            return self._form(each, 200, who, external_ids, lines, has_more=found.next is not None)

        return await self._context.answer(request, page)

    async def do(self, request: Request) -> Response:
        """Do it to each, and report what became of each."""
        kind, _ = self._requested(request)
        form = await read_form(request)
        session, reason = request.state.session, form.get("reason", "")
        who = who_acts(session, form)
        external_ids = form.get("transfers", "").split()[:TRANSFERS_MAX]
        try:
            by = Operator(who, reason, session.is_proved)
        except ActionRefused as error:
            problem = note_text(str(error), self._context.language(request))
            return await self._context.answer(
                request,
                lambda each: self._form(each, 409, who, external_ids, reason=reason, problem=problem),
            )
        outcomes = await asyncio.to_thread(
            do_all, self._context.database, kind, external_ids, by, self._policy, self._clock
        )
        if kind == "retry":
            self._wake_forwarder()
        done = sum(each.is_done for each in outcomes)
        log.info("console.bulk_done", kind=kind, who=by.who, done=done, refused=len(outcomes) - done)
        action = self._action(request, kind)
        return await self._context.answer(
            request,
            lambda each: self._context.render(
                each, "bulk_result", kind=kind, outcomes=outcomes, done=done, action=action
            ),
        )

    def _form(
        self,
        request: Request,
        status: int,
        who: str,
        external_ids: Sequence[str],
        lines: Sequence[TransferLine] = (),
        *,
        reason: str = "",
        problem: str | None = None,
        has_more: bool = False,
    ) -> Response:
        kind, asked = self._requested(request)
        return self._context.render(
            request,
            "bulk",
            status,
            kind=kind,
            asked=asked,
            action=self._action(request, kind),
            lines=lines,
            external_ids=external_ids,
            has_more=has_more,
            who=who,
            reason=reason,
            problem=problem,
        )

    def _requested(self, request: Request) -> tuple[str, Asked]:
        asked = self._asked_of(request)
        kind = request.path_params["kind"]
        if kind not in STATE_ACTIONS.get(asked.choice or "", ()):
            raise HTTPException(404, N_("There is no such action."))
        if asked.wrong:
            raise HTTPException(400, " ".join(asked.wrong))
        return kind, asked

    def _action(self, request: Request, kind: str) -> Label:
        return label(labels_of(self._context.language(request)).actions, kind)


def do_all(
    database: Database,
    kind: str,
    external_ids: Sequence[str],
    by: Operator,
    policy: ForwardingPolicy,
    clock: Callable[[], datetime],
) -> list[Tried]:
    """Retry or abandon each, in a transaction of its own. A database that is away ends it: the rest is not tried.

    The one in hand then may have been done, if only the answer to its commit was lost. To ask again is harmless.
    """
    outcomes: list[Tried] = []
    for external_id in external_ids:
        try:
            result = perform(database, kind, external_id, by, policy, clock()).result
            outcomes.append(Tried(external_id, is_done=True, result=result))
        except ActionRefused as refusal:
            outcomes.append(Tried(external_id, is_done=False, result=read_note(str(refusal))))
        except LedgerUnavailable as error:
            codes = ["not_confirmed", *["not_tried"] * (len(external_ids) - len(outcomes) - 1)]
            return outcomes + [
                Tried(each, is_done=False, result=Note(code, {"why": str(error)}))
                for code, each in zip(codes, external_ids[len(outcomes) :], strict=True)
            ]
    return outcomes


def _may_be_tried(line: TransferLine, request: Request, context: Context) -> bool:
    # A pending transfer that is due is on its way already.
    return line.due_at is None or line.due_at > context.times(request).now
