"""The pages that do something: each asks first, on a page of its own, for a reason and a name, and then does it once.

What is legal is decided by the ledger alone; a refusal is shown with its reason, and what was typed stays.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from payments.errors import ActRefused, LedgerUnavailable
from payments.operator import actions as acts
from payments.operator.actions import Operator, request_batch
from payments.operator.replay import replay_event
from payments.operator.timeline import read_credit
from payments.policy import ForwardingPolicy
from webhooks.console import words
from webhooks.console.door import HOME, session_cookie
from webhooks.console.links import act_on, invoice_of, link_to
from webhooks.console.pages import OUTCOME_COOKIE, Desk

log = structlog.get_logger()

# A reason has at most 500 characters; a form of more bytes is none of ours.
FORM_BYTES_MAX = 16_384

# How long a browser is kept waiting for a reconciliation; it goes on by itself afterwards.
PATIENCE_SECONDS = 20.0


# What these acts can be done to; every other is done to an id.
_SUBJECTS: dict[str, tuple[str, ...]] = {
    "pause": ("forwarding", "issuing"),
    "resume": ("forwarding", "issuing"),
    "reconcile": ("now",),
    "forward": ("now",),
    "issue": ("now",),
}


@dataclass(frozen=True, slots=True)
class Work:
    """What runs outside the ledger; handed in, since only the web app knows the bank.

    ``forward`` and ``reconcile`` block and say in a sentence what they did. ``new_batch_tag`` is None where no batch
    may be issued by hand: anywhere but at an emulator.
    """

    wake_forwarder: Callable[[], None]
    forward: Callable[[], str]
    reconcile: Callable[[], str]
    new_batch_tag: Callable[[], str] | None


class Acting:
    """Confirms and does acts. Two operators at once: the ledger refuses the second."""

    def __init__(
        self, desk: Desk, policy: ForwardingPolicy, work: Work, clock: Callable[[], datetime]
    ) -> None:
        self._desk = desk
        self._database = desk.database
        self._policy = policy
        self._work = work
        self._clock = clock
        self._busy = {"forward": threading.Lock(), "reconcile": threading.Lock()}
        self._running: set[asyncio.Task[str]] = set()

    @property
    def routes(self) -> list[Route]:
        """One page to ask, and the same address to do it."""
        path = f"{HOME}/act/{{kind}}/{{subject:path}}"
        return [Route(path, self.ask, methods=["GET"]), Route(path, self.do, methods=["POST"])]

    async def ask(self, request: Request) -> Response:
        """Ask for the reason."""
        return await self._desk.answer(request, lambda each: self._form(each, 200, self._who(each), "", None))

    async def do(self, request: Request) -> Response:
        """Do it, and lead back to where its effect is seen."""
        kind, subject = self._asked(request)
        form = await read_form(request)
        who, reason = form.get("who", ""), form.get("reason", "")
        task = asyncio.create_task(asyncio.to_thread(self._do, kind, subject, who, reason))
        self._running.add(task)
        task.add_done_callback(self._ended)
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        try:
            outcome = task.result() if task.done() else "It takes longer than usual and goes on by itself."
        except ActRefused as refused:
            problem = str(refused)
            return await self._desk.answer(request, lambda each: self._form(each, 409, who, reason, problem))
        except LedgerUnavailable as error:
            problem = f"Nothing was done: {error}"
            return await self._desk.answer(request, lambda each: self._form(each, 503, who, reason, problem))
        done = words.word(words.ACTS, kind).text
        response = RedirectResponse(_back(kind, subject, form.get("back", "")), 303)
        tell(response, request, self._desk, f"{done}: {outcome}")
        return response

    def _ended(self, task: asyncio.Task[str]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ActRefused | LedgerUnavailable):
            log.error("console.act_failed", error=repr(error))

    def _asked(self, request: Request) -> tuple[str, str]:
        kind, subject = request.path_params["kind"], request.path_params["subject"]
        if kind not in words.ACTS or subject not in _SUBJECTS.get(kind, (subject,)):
            raise HTTPException(404, "there is no such act")
        return kind, subject

    def _who(self, request: Request) -> str:
        return request.state.session.who if request.state.session else ""

    def _form(self, request: Request, status: int, who: str, reason: str, problem: str | None) -> Response:
        kind, subject = self._asked(request)
        return self._desk.page(
            request,
            "act",
            status,
            kind=kind,
            subject=subject,
            act=words.word(words.ACTS, kind),
            transfer=self._transfer(subject) if kind in ("retry", "abandon") else None,
            who=who,
            reason=reason,
            problem=problem,
            back=_back(kind, subject, ""),
            action=act_on(kind, subject),
        )

    def _transfer(self, external_id: str) -> Any:
        story = read_credit(self._database, invoice_of(external_id))
        transfers = story.transfers if story else ()
        return next((each for each in transfers if each.external_id == external_id), None)

    def _do(self, kind: str, subject: str, who: str, reason: str) -> str:
        by, now, database = Operator(who, reason), self._clock(), self._database
        match kind:
            case "retry":
                result = acts.retry_transfer(database, subject, by, self._policy, now).result
                self._work.wake_forwarder()
            case "abandon":
                result = acts.abandon_transfer(database, subject, by, self._policy, now).result
            case "resolve":
                number = int(subject) if subject.isascii() and subject.isdigit() else 0
                result = acts.resolve_attention(database, number, by, now).result
            case "replay":
                act, _ = replay_event(database, subject, by, self._policy, now)
                result = act.result
                self._work.wake_forwarder()
            case "pause":
                result = acts.pause(
                    database, "issuing" if subject == "issuing" else "forwarding", by, now
                ).result
            case "resume":
                result = acts.resume(
                    database, "issuing" if subject == "issuing" else "forwarding", by, now
                ).result
                self._work.wake_forwarder()
            case "issue":
                result = self._issue(by)
            case _:
                result = self._run(
                    kind, self._work.forward if kind == "forward" else self._work.reconcile, by
                )
        log.info("console.acted", kind=kind, subject=subject, who=by.who, result=result)
        return result

    def _issue(self, by: Operator) -> str:
        if self._work.new_batch_tag is None:
            raise ActRefused("a batch outside the window is issued by hand only at an emulator")
        # The act is the request: the worker plans the batch that it names. See docs/decisions/0015.
        return request_batch(self._database, self._work.new_batch_tag(), by, self._clock()).result

    def _run(self, kind: str, work: Callable[[], str], by: Operator) -> str:
        if kind == "forward" and "forwarding" in acts.paused(self._database):
            raise ActRefused("forwarding is paused: resume it first")
        lock = self._busy[kind]
        if not lock.acquire(blocking=False):
            raise ActRefused("one is under way already: wait for its end")
        try:
            # Before it begins, so that it is on record whatever becomes of it.
            acts.record_act(self._database, kind, "now", "begun", by, self._clock())
            return work()
        finally:
            lock.release()


def tell(response: Response, request: Request, desk: Desk, text: str) -> None:
    """Have the next page say it, once."""
    response.set_cookie(
        OUTCOME_COOKIE,
        desk.seal.seal_outcome(text),
        max_age=60,
        path=HOME,
        secure=is_secure(request),
        httponly=True,
        samesite="strict",
    )


def is_secure(request: Request) -> bool:
    """True behind TLS: cookies then never travel in the clear."""
    return session_cookie(request).startswith("__Host-")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, the first of each name. 413 for what is larger than any form of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, "the form is too large")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise HTTPException(400, "the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def _back(kind: str, subject: str, asked: str) -> str:
    if is_ours(asked):
        return asked
    if kind in ("retry", "abandon"):
        return link_to("credit", invoice_of(subject))
    if kind == "replay":
        return link_to("event", subject)
    return {"resolve": f"{HOME}/attention", "issue": f"{HOME}/batches"}.get(kind, f"{HOME}/system")


def is_ours(address: str) -> bool:
    """Tell whether an address that came with a form leads to one of these pages, and nowhere else."""
    path = address.partition("?")[0]
    return (path == HOME or path.startswith(f"{HOME}/")) and "\\" not in address and address.isprintable()
