"""Webhooks, the events they are sent, and the attempts that failed.

Decides what is sent, to whom and when, and keeps the outcomes; it never opens a connection. The bank's owner takes
each `Delivery` and reports its outcome with `record`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from emulator.behaviour.faults import Faults, Subject
from emulator.books import checks
from emulator.books.fields import Fields, only_true
from emulator.books.formats import Ids, time_text
from emulator.books.preset import Preset
from emulator.books.table import Row, Table
from emulator.clock import Agenda

# Documented: the codes of an attempt.
BAD_STATUS = "badHttpStatus"
BAD_CONNECTION = "badConnection"
TIMEOUT = "timeout"

# Documented: only to true. Guess: the code for anything else.
CHANGES: Fields = {
    "isDelivered": only_true("invalidIsDelivered", "isDelivered can only be set to true").needed,
}


@dataclass(frozen=True)
class Delivery:
    """One POST to be made: this body to that URL.

    `attempt` counts from 0; None marks an extra one that is not retried.
    """

    event: Row
    webhook_id: str
    url: str
    attempt: int | None
    forged: bool = False

    @property
    def event_id(self) -> str:
        """The id of the event, the same in every delivery of it."""
        event_id: str = self.event["id"]
        return event_id

    @property
    def body(self) -> bytes:
        """The bytes that are signed and sent: one line, sorted keys, ASCII; the same in every delivery."""
        # Observed: Python's json.dumps with its default separators since 2021. Inferred: non-ASCII is
        # escaped.
        event = {key: value for key, value in self.event.items() if key != "isDelivered"}
        return json.dumps({"event": event}, sort_keys=True).encode("ascii")


class Events:
    """All webhooks, events and attempts."""

    def __init__(
        self,
        ids: Ids,
        workspace_id: str,
        agenda: Agenda,
        preset: Preset,
        faults: Faults,
        deliver: Callable[[Delivery], object],
    ) -> None:
        self._ids = ids
        self._workspace_id = workspace_id
        self._agenda = agenda
        self._preset = preset
        self._faults = faults
        self.deliver = deliver
        self.webhooks = Table("webhook")
        self.rows = Table("event")
        self.attempts = Table("event/attempt", indexes=("eventId", "webhookId"))
        # Kept apart, so that listing undelivered events does not scan the delivered ones.
        self.undelivered: dict[str, None] = {}
        self._recipients: dict[str, list[str]] = {}
        self.posts = 0
        agenda.teach("event.emit", self._emit)
        agenda.teach("event.deliver", self._send)

    # --- webhooks -----------------------------------------------------------------------------------------

    def register(self, body: Any, now: datetime) -> Row:
        """Register a webhook; the same URL may be registered again."""
        # Observed: the newest Postman collection wraps the object, the SDKs do not.
        if isinstance(body, dict) and set(body) == {"webhook"}:
            body = body["webhook"]
        row = {"id": self._ids.entity(), **checks.body(body, "webhook", checks.WEBHOOK)}
        self.webhooks.add(row, now)
        return row

    # --- events -------------------------------------------------------------------------------------------

    def plan(self, subscription: str, log: Row, at: datetime) -> None:
        """Turn a log into an event at `at`, if a webhook is subscribed by then."""
        self._agenda.push(at, "event.emit", subscription, log)

    def _emit(self, subscription: str, log: Row, at: datetime) -> None:
        # Inferred (6.6): an event exists only where a subscription matched.
        matching = [row["id"] for row in self.webhooks.all() if subscription in row["subscriptions"]]
        groups = (
            [[each] for each in matching]
            if self._preset.event_per_webhook
            else [matching]
            if matching
            else []
        )
        for recipients in groups:
            delivered: Row = {
                "id": self._ids.entity(),
                "created": time_text(at),
                "log": log,
                "subscription": subscription,
                "workspaceId": self._workspace_id,
            }
            event_id = delivered["id"]
            # Observed: `isDelivered` is in the answers of the API and not in the delivered body.
            self.rows.add({**delivered, "isDelivered": False}, at)
            self.undelivered[event_id] = None
            self._recipients[event_id] = recipients
            for webhook_id in recipients:
                self._schedule(at, event_id, webhook_id)

    def _schedule(self, at: datetime, event_id: str, webhook_id: str) -> None:
        subject = self._subject(event_id)
        if self._faults.strikes("lose_event", subject):
            return
        delay_seconds = self._faults.reorder_delay_seconds(subject)
        self._plan(at + timedelta(seconds=delay_seconds), event_id, webhook_id, 0)
        for _ in range(self._faults.measure("duplicate_delivery", subject) or 0):
            self._plan(at, event_id, webhook_id, None)
        if self._faults.strikes("forge_signature", subject):
            self._plan(at, event_id, webhook_id, None, forged=True)

    def _plan(
        self, at: datetime, event_id: str, webhook_id: str, attempt: int | None, *, forged: bool = False
    ) -> None:
        self._agenda.push(at, "event.deliver", event_id, webhook_id, attempt, forged)

    def _subject(self, event_id: str) -> Subject:
        row = self.rows.get(event_id)
        if row is None:
            return Subject("")
        entity: Row = row["log"].get(row["subscription"], {})
        amounts = (entity["amount"],) if "amount" in entity else ()
        return Subject(
            f"{row['subscription']} {row['log']['type']}", amounts, (event_id, entity.get("id", ""))
        )

    def _send(
        self,
        event_id: str,
        webhook_id: str,
        attempt: int | None,
        forged: bool,  # noqa: FBT001 - the clock hands on what was scheduled, in order
        at: datetime,
    ) -> None:
        row, webhook = self.rows.get(event_id), self.webhooks.get(webhook_id)
        if row is None or webhook is None:
            return
        delivery = Delivery(row, webhook_id, webhook["url"], attempt, forged)
        if not forged and self._faults.strikes("drop_delivery", self._subject(event_id)):
            self.record(delivery, at, BAD_CONNECTION, "HTTP POST request could not connect")
            return
        self.posts += 1
        self.deliver(delivery)

    def record(self, delivery: Delivery, now: datetime, code: str | None = None, message: str = "") -> None:
        """Record the outcome of a delivery: code None for an answer of 200, else the attempt's code and text."""
        row = self.rows.get(delivery.event_id)
        if delivery.forged or row is None:
            return
        if code is None:
            self._set_delivered(row)
            return
        # Documented: attempts are kept for failures only.
        attempt: Row = {
            "id": self._ids.entity(),
            "code": code,
            "message": message,
            "eventId": delivery.event_id,
            "webhookId": delivery.webhook_id,
            "created": time_text(now),
        }
        self.attempts.add(attempt, now)
        retries = self._preset.retry_delays_seconds
        if delivery.attempt is not None and delivery.attempt < len(retries):
            at = now + timedelta(seconds=retries[delivery.attempt])
            following = delivery.attempt + 1
            self._plan(at, delivery.event_id, delivery.webhook_id, following)

    def _set_delivered(self, row: Row) -> None:
        # Documented: delivered means that some endpoint answered 200, or that a client said so.
        row["isDelivered"] = True
        self.undelivered.pop(row["id"], None)

    def patch(self, event_id: str, changes: Any) -> Row:
        """Mark an event delivered."""
        row = self.rows.find(event_id)
        checks.body(changes, "event", CHANGES)
        self._set_delivered(row)
        return row

    def delete(self, event_id: str) -> Row:
        """Delete an event; its planned deliveries are not made."""
        row = self.rows.remove(event_id)
        self.undelivered.pop(event_id, None)
        return row

    def redeliver(
        self,
        event_id: str,
        now: datetime,
        *,
        count: int = 1,
        forged: bool = False,
        delay_seconds: float = 0.0,
    ) -> int:
        """Send an event again, without retries, to each of its webhooks; returns how many deliveries that makes."""
        self.rows.find(event_id)
        recipients = [each for each in self._recipients[event_id] if each in self.webhooks]
        for webhook_id in recipients * count:
            at = now + timedelta(seconds=delay_seconds)
            self._plan(at, event_id, webhook_id, None, forged=forged)
        return len(recipients) * count
