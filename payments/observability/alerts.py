"""Alerts: sends each open attention to every service of ALERT_URLS, through Apprise, until each has taken it.

Every web process and worker runs it, and claims in the database decide which process sends what, so alerts go out as
long as any process is alive. Logs name the service and never its URL, which holds a secret at most services.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from payments.language import Language
from payments.ledger.alerts import Alert, claim_alert, record_delivered, record_undelivered
from payments.observability.heartbeat import Ticker
from payments.observability.logging import masked_text
from payments.operator.labels import label, labels_of
from payments.operator.wording import sentence
from payments.settings import Settings
from payments.storage.database import Database
from payments.transfer import retry_delay

if TYPE_CHECKING:
    from apprise import Apprise

log = structlog.get_logger()

# The longest that one service may take for one alert.
SEND_SECONDS = 20.0

# How often to look for attentions that are due.
LOOK_SECONDS = 5.0

# First and longest wait between two attempts, which go on for as long as the attention is open.
RETRY_BASE_SECONDS = 5.0
RETRY_MAX_SECONDS = 900.0

# Of what the bank said; a chat message is cut somewhere above that.
DETAIL_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class Service:
    """One place that alerts go to. ``name`` is for logs, such as "Slack"."""

    _apprise: "Apprise"
    name: str

    def send(self, title: str, body: str) -> bool:
        """Send it as plain text; True when the service took it. Apprise turns every error into False."""
        return bool(self._apprise.notify(title=title, body=body, notify_type="warning", body_format="text"))


@dataclass(frozen=True, slots=True)
class Alerting:
    """``origin`` says in each message where it comes from, such as "sandbox"; ``count`` gets each outcome."""

    database: Database
    services: list[Service]
    origin: str
    language: Language
    clock: Callable[[], datetime]
    count: Callable[[str], object] = lambda _: None
    # Which services have taken which attention; one that has is not asked again because another failed.
    _taken: set[tuple[int, int]] = field(default_factory=set)

    def send_due(self) -> int:
        """Send every alert that is due, oldest first, and return how many were taken. Raises LedgerUnavailable.

        Stops at the first that was not taken, because the next would most likely fail in the same way.
        """
        sent = 0
        lease_seconds = SEND_SECONDS * (len(self.services) + 1)
        while alert := claim_alert(self.database, lease_seconds, self.clock()):
            if not self._send(alert):
                break
            sent += 1
        return sent

    def _send(self, alert: Alert) -> bool:
        title, body = write_message(alert, self.origin, self.language)
        facts = {"attention_id": alert.attention_id, "kind": alert.kind, "attempt": alert.attempt}
        failed = []
        for number, service in enumerate(self.services):
            taken = (alert.attention_id, number)
            if taken not in self._taken and service.send(title, body):
                self._taken.add(taken)
            elif taken not in self._taken:
                failed.append(service.name)
        if failed:
            wait = retry_delay(alert.attempt, RETRY_BASE_SECONDS, RETRY_MAX_SECONDS)
            record_undelivered(self.database, alert, self.clock() + wait)
            self.count("failed")
            log.warning("alert.undelivered", **facts, services=failed, retry_in_seconds=wait.total_seconds())
            return False
        record_delivered(self.database, alert, self.clock())
        self._taken.difference_update({(alert.attention_id, number) for number in range(len(self.services))})
        self.count("delivered")
        log.info("alert.delivered", **facts, services=[service.name for service in self.services])
        return True


def write_message(alert: Alert, origin: str, language: Language) -> tuple[str, str]:
    """The title and the body of one alert, in plain text; ``detail`` may quote the bank, so it is masked."""
    _ = language.gettext
    found = label(labels_of(language).attentions, alert.kind)
    title = f"repasse ({origin}): {found.text}, {alert.subject}"
    detail = masked_text(sentence(alert.detail, language))
    page = _("docs/runbook.md") + f"#{alert.kind}"
    raised_at = f"{alert.raised_at:%Y-%m-%d %H:%M:%S} UTC"
    lines = (
        detail if len(detail) <= DETAIL_LENGTH_MAX else f"{detail[:DETAIL_LENGTH_MAX]}…",
        found.meaning,
        _("Item %(id)s, opened at %(at)s.", id=alert.attention_id, at=raised_at),
        _("What to do: %(page)s", page=page),
    )
    return title, "\n".join(line for line in lines if line)


def open_alerts(
    settings: Settings,
    database: Database,
    clock: Callable[[], datetime],
    count: Callable[[str], object] = lambda _: None,
) -> Ticker | None:
    """The part of a process that sends alerts, not started yet; None without ALERT_URLS.

    ``count`` is called with "delivered" or "failed" after each attempt.
    """
    if settings.alert_urls is None:
        return None
    services = open_services(settings.alert_urls.get_secret_value())
    alerting = Alerting(database, services, settings.starkbank_environment, settings.language, clock, count)
    return Ticker("alerts", alerting.send_due, LOOK_SECONDS)


def open_services(urls: str) -> list[Service]:
    """One service for each of the Apprise URLs, which load_settings has found to be readable."""
    _ask_this_machine_directly()
    # Imported here: it takes half a second and 25 MB, and only a process that sends alerts needs it.
    from apprise import Apprise, AppriseAsset

    every = Apprise(asset=AppriseAsset(service_timeout=SEND_SECONDS))
    for word in urls.split():
        every.add(word)  # may be several, with commas between them
    return [Service(Apprise(one), str(one.service_name)) for one in every]


def _ask_this_machine_directly() -> None:
    """Have Apprise reach a service on this machine without the proxy of http_proxy and its like, which others may need.

    Read: requests 2.34 utils.should_bypass_proxies, which Apprise's plugins go by: the lower-case name comes first.
    """
    exceptions = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    os.environ["no_proxy"] = ",".join([*filter(None, [exceptions]), "localhost", "127.0.0.0/8", "::1"])
