"""The command `listen --forward URL`: a webhook for as long as it runs, and a line for each event with its answer."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import time
from typing import Any

from emulator.management.remote import NoEmulator, Refused, Remote
from emulator.management.sentences import posted

# Soon enough for a person who watches.
POLL_SECONDS = 0.2


def listen(remote: Remote, options: argparse.Namespace) -> dict[str, Any]:
    """Register the webhook, print its deliveries until Ctrl-C or SIGTERM, and remove it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    body = {"url": options.forward, "subscriptions": options.subscriptions}
    webhook = remote.call("POST", "webhooks", body)["webhook"]
    number = count = 0
    try:
        if not options.json:
            names = ", ".join(webhook["subscriptions"])
            print(f"posting {names} events to {webhook['url']} until Ctrl-C", flush=True)
        while True:
            query = {"webhook": webhook["id"], "since": str(number), "bodies": "true"}
            for entry in remote.call("GET", "deliveries", query=query)["deliveries"]:
                # Counted first: Ctrl-C may come as soon as the line is there.
                number, count = entry["number"], count + 1
                print(json.dumps(entry) if options.json else posted(entry), flush=True)
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return {"webhook": webhook, "posts": count}
    finally:
        with contextlib.suppress(NoEmulator, Refused):
            remote.call("DELETE", f"webhooks/{webhook['id']}")
