"""The pages that do something: each asks first, on a page of its own, for a reason and a name, and then does it once.

What is allowed is decided by payments/operator alone; a refusal is shown with its reason, and what was typed stays.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments.errors import ActionRefused, LedgerUnavailable
from payments.language import N_
from payments.ledger.inbox import Outcome
from payments.note import Note, note
from payments.operator import actions
from payments.operator.actions import Operator
from payments.operator.health import SWITCHES
from payments.operator.labels import ACTION_KINDS, label, labels_of
from payments.operator.lists import TransferLine
from payments.operator.perform import perform
from payments.operator.timeline import read_credit
from payments.operator.wording import note_text, sentence
from payments.policy import ForwardingPolicy
from webhooks.console.context import Context, read_form, who_acts
from webhooks.console.urls import HOME, action_url, invoice_of, is_console_url, subject_link

log = structlog.get_logger()

# How long a browser waits for a reconciliation, which continues by itself afterwards.
PATIENCE_SECONDS = 20.0

# A replay that ends with one of these changed nothing for the better.
_NEEDS_ATTENTION = frozenset({Outcome.UNREADABLE, Outcome.SECOND_CREDIT})

# The subjects that these actions take; every other takes an id.
_SUBJECTS: dict[str, tuple[str, ...]] = {
    "pause": SWITCHES,
    "resume": SWITCHES,
    "reconcile": ("now",),
    "forward": ("now",),
    "issue": ("now",),
}


class Result(NamedTuple):
    """What an action came to, as a note. ``tone`` is bad when it did not do what it is for."""

    note: Note
    tone: str = "good"


@dataclass(frozen=True, slots=True)
class Work:
    """The work that needs the bank; handed in, since only the web app knows the bank.

    ``forward`` and ``reconcile`` block. ``new_batch_tag`` is None where no
    batch may be issued by hand: anywhere but with an emulator.
    """

    wake_forwarder: Callable[[], None]
    forward: Callable[[], Result]
    reconcile: Callable[[], Result]
    new_batch_tag: Callable[[], str] | None


class ActionPages:
    """Confirms actions and does them."""

    def __init__(
        self, context: Context, policy: ForwardingPolicy, work: Work, clock: Callable[[], datetime]
    ) -> None:
        self._context = context
        self._database = context.database
        self._policy = policy
        self._work = work
        self._clock = clock
        self._busy = {"forward": threading.Lock(), "reconcile": threading.Lock()}
        self._running: set[asyncio.Task[Result]] = set()

    @property
    def routes(self) -> list[Route]:
        """One page to ask, and the same address to do it."""
        path = f"{HOME}/act/{{kind}}/{{subject:path}}"
        return [
            Route(path, self._context.for_operators(self.ask), methods=["GET"]),
            Route(path, self._context.for_operators(self.do), methods=["POST"]),
        ]

    async def ask(self, request: Request) -> Response:
        """Ask for the reason."""
        who = request.state.session.who
        return await self._context.answer(request, lambda each: self._form(each, 200, who, "", None))

    async def do(self, request: Request) -> Response:
        """Do it, and lead back to where its effect is seen."""
        kind, subject = _requested(request)
        language, times = self._context.language(request), self._context.times(request)
        form = await read_form(request)
        session, reason = request.state.session, form.get("reason", "")
        who = who_acts(session, form)
        act = partial(self._do, kind, subject, who, reason, is_proved=session.is_proved)
        task = asyncio.create_task(asyncio.to_thread(act))
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        try:
            result = task.result() if task.done() else Result(Note("still_running", {}), "wait")
        except (ActionRefused, LedgerUnavailable) as error:
            status = 409 if isinstance(error, ActionRefused) else 503
            problem = note_text(str(error), language, times.text)
            return await self._context.answer(
                request, lambda each: self._form(each, status, who, reason, problem)
            )
        response = RedirectResponse(_back(kind, subject, form.get("back", "")), 303)
        self._context.flash(response, request, sentence(result.note, language, times.text), result.tone)
        return response

    def _ended(self, task: asyncio.Task[Result]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ActionRefused | LedgerUnavailable):
            log.error("console.action_failed", error=repr(error))

    def _form(self, request: Request, status: int, who: str, reason: str, problem: str | None) -> Response:
        kind, subject = _requested(request)
        labels = labels_of(self._context.language(request))
        return self._context.render(
            request,
            "action",
            status,
            kind=kind,
            subject=subject,
            action=label(labels.actions, kind),
            heading=labels.button(kind, subject),
            transfer=self._transfer(subject) if kind in ("retry", "abandon") else None,
            who=who,
            reason=reason,
            problem=problem,
            back=_back(kind, subject, ""),
            url=action_url(kind, subject),
        )

    def _transfer(self, external_id: str) -> TransferLine | None:
        timeline = read_credit(self._database, invoice_of(external_id))
        transfers = timeline.transfers if timeline else ()
        return next((each for each in transfers if each.external_id == external_id), None)

    def _do(self, kind: str, subject: str, who: str, reason: str, *, is_proved: bool) -> Result:
        by, now = Operator(who, reason, is_proved), self._clock()
        if kind in self._busy:
            return self._run(kind, by, now)
        target = self._new_batch_tag() if kind == "issue" else subject
        action = perform(self._database, kind, target, by, self._policy, now)
        if kind in ("retry", "replay", "resume"):
            self._work.wake_forwarder()
        log.info(
            "console.action_done",
            kind=kind,
            subject=subject,
            who=by.who,
            has_own_token=is_proved,
            result=action.result.code,
        )
        values = action.result.values
        needs_attention = kind == "replay" and values.get("now", values.get("outcome")) in _NEEDS_ATTENTION
        return Result(action.result, "bad" if needs_attention else "good")

    def _new_batch_tag(self) -> str:
        if self._work.new_batch_tag is None:
            raise ActionRefused(note("only_with_an_emulator"))
        return self._work.new_batch_tag()

    def _run(self, kind: str, by: Operator, now: datetime) -> Result:
        if kind == "forward":
            actions.refuse_if_paused(self._database, "forwarding")
        if not self._busy[kind].acquire(blocking=False):
            raise ActionRefused(note("running_already"))
        try:
            # Recorded before it begins, so that it is on record however it ends.
            action = actions.record_action(self._database, kind, "now", note("started"), by, now)
            try:
                result = self._work.forward() if kind == "forward" else self._work.reconcile()
            except Exception as error:
                actions.record_result(self._database, action, _failure(error))
                raise
            actions.record_result(self._database, action, result.note.stored)
            log.info("console.action_done", kind=kind, subject="now", who=by.who, result=result.note.code)
            return result
        finally:
            self._busy[kind].release()


def _failure(error: Exception) -> str:
    why = (
        note("words", text=str(error))
        if isinstance(error, LedgerUnavailable)
        else note("bug", name=type(error).__name__)
    )
    return note("failed", why=why)


def _requested(request: Request) -> tuple[str, str]:
    kind, subject = request.path_params["kind"], request.path_params["subject"]
    if kind not in ACTION_KINDS or subject not in _SUBJECTS.get(kind, (subject,)):
        raise HTTPException(404, N_("There is no such action."))
    return kind, subject


def _back(kind: str, subject: str, asked: str) -> str:
    if is_console_url(asked):
        return asked
    pages = {"resolve": f"{HOME}/attention", "issue": f"{HOME}/batches"}
    return subject_link(kind, subject) or pages.get(kind, f"{HOME}/system")
