"""An answer of the management API in words, one sentence or a few lines: for the page and for the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from emulator.books.formats import reais

Answer = dict[str, Any]

# Of an answer that was not 200, in characters: the first line of most frameworks' errors.
ANSWER_MAX = 100


def sentence(answer: Answer) -> str:
    """What an answer of the management API says, in words."""
    say = next((say for key, say in _SAYINGS.items() if key in answer), None)
    return "done" if say is None else say(answer)


def fault_rules(fault: Answer) -> str:
    """When a fault strikes and what it does, where that is not the usual."""
    usual = {"times": None, "route": "*", "rate": 1.0}
    return ", ".join(
        f"{key.replace('_', ' ')} {value}"
        for key, value in fault.items()
        if key not in ("id", "name", "scenario", "struck") and not (key in usual and value == usual[key])
    )


def posted(entry: Answer) -> str:
    """One post to a webhook and its outcome on one line; of a bad answer also the beginning, where it is known."""
    status = entry["status"] or entry["code"] or ""
    words = " ".join(entry.get("answer", "").split())[:ANSWER_MAX] if status != 200 else ""
    return (
        f"{entry['number']:>5} {entry['at'][11:19]} {status:>3} {entry['subscription']}.{entry['type']:<10} "
        f"event {entry['event']} to {entry['url']} in {entry['ms']:.0f} ms{' forged' if entry['forged'] else ''}"
        f"{': ' + words if words else ''}"
    )


def _entity(answer: Answer) -> str:
    kind = next(kind for kind in ("invoice", "transfer", "deposit") if kind in answer)
    row = answer[kind]
    if "reversed_centavos" in answer:
        back = reais(answer["reversed_centavos"])
        return f"invoice {row['id']}: {back} goes back to the payer, {reais(row['amount'])} remains"
    return f"{kind} {row['id']} over {reais(row['amount'])} is {row['status']}"


def _story(answer: Answer) -> str:
    count = answer["deliveries"]
    sent = f"{count} event{'' if count == 1 else 's'} sent" if count else "no webhook is subscribed"
    return f"{answer['story']}: {_entity(answer)}; {sent}"


def _webhook(answer: Answer) -> str:
    url, count = answer["webhook"]["url"], answer.get("posts")
    if count is None:
        return f"{url} is subscribed to {', '.join(answer['webhook']['subscriptions'])}"
    return f"the webhook is removed; {count} post{'' if count == 1 else 's'} to {url}"


def _fault(fault: Answer) -> str:
    rules = fault_rules(fault)
    name = fault.get("scenario") or fault["name"]
    return f"fault {fault['id']}, {name}, is on" + (f" ({rules})" if rules else "")


def _faults(answer: Answer) -> str:
    """What is on, and all there is."""
    lines = [_fault(fault) for fault in answer["faults"]] or ["no fault is on"]
    lines += ["", "faults:"] + [f"  {name:<20} {words}" for name, words in answer["known"].items()]
    lines += ["", "scenarios:"]
    for name, given in answer["scenarios"].items():
        options = ", ".join(f"{key} {value}" for key, value in given.items() if key != "name")
        lines.append(f"  {name:<20} {given['name']}" + (f" ({options})" if options else ""))
    lines += ["", f"packs: {', '.join(answer['packs'])}"]
    return "\n".join(lines)


def _outcome(where: str, made: Answer) -> str:
    outcome = f"answered {made['status']}" if made["status"] is not None else made["message"]
    return f"{where}: {outcome} in {made['ms']:.0f} ms"


def _delivery(answer: Answer) -> str:
    entry = answer["delivery"]
    return _outcome(f"event {entry['event']} to {entry['url']}", entry)


def _repeat(answer: Answer) -> str:
    made = answer["repeat"]
    return _outcome(f"{made['method']} {made['url']}", made)


def _deliveries(answer: Answer) -> str:
    found = answer["deliveries"]
    if isinstance(found, list):
        return "\n".join(map(posted, found))
    return "1 delivery is on its way" if found == 1 else f"{found} deliveries are on their way"


def _requests(answer: Answer) -> str:
    return "\n".join(
        f"{each['number']:>5} {each['at'][11:19]} {each['status']:>3} {each['method']:<6} {each['path']}"
        f"{'?' + each['query'] if each['query'] else ''} {' '.join(each['errors'])} {each['fault'] or ''}".rstrip()
        for each in answer["requests"]
    )


def _clock(answer: Answer) -> str:
    clock = answer["clock"]
    pace = "paused" if clock["paused"] else f"at speed {clock['speed']:g}"
    upcoming = f"; {clock['planned']} planned, the next at {clock['next_at']}" if clock["next_at"] else ""
    return f"{'loaded; ' if 'loaded' in answer else ''}it is {clock['now']}, {pace}{upcoming}"


def _statement(answer: Answer) -> str:
    """Where every centavo is."""
    credited = answer["credited"]
    lines = [
        f"invoices      {', '.join(f'{count} {status}' for status, count in answer['invoices'].items()) or 'none'}",
        f"credited      {credited['count']}, {reais(credited['net_centavos'])} "
        f"(fees {reais(credited['fee_centavos'])})",
        *(
            f"transfers     {found['count']} {status}, {reais(found['centavos'])}"
            for status, found in answer["transfers"].items()
        ),
        f"reversed      {reais(answer['reversed_centavos'])}",
        f"balance       {reais(answer['balance_centavos'])}",
        f"forwarded     {answer['forwarded_exactly_once']} exactly once"
        + "".join(
            f", {len(answer[name])} {name.replace('_', ' ')}"
            for name in ("unpaid", "in_flight", "paid_twice", "wrong_amount", "foreign")
            if answer[name]
        ),
        f"balanced      {'yes' if answer['balanced'] else 'NO'}",
    ]
    return "\n".join(lines)


def _projects(answer: Answer) -> str:
    return "\n".join(
        f"{each['id']} {each['kind']:<12} {each['name']:<16} "
        f"{'limit of all' if each['requests_per_minute'] is None else each['requests_per_minute']}  "
        f"{' '.join(each['allowed_ips']) or 'any address'}  {each['private_key_path'] or 'no private key here'}"
        for each in answer["projects"]
    )


def _project(answer: Answer) -> str:
    project = answer["project"]
    key = f"; its private key is in {project['private_key_path']}" if project["private_key_path"] else ""
    return f"project {project['id']} ({project['name']}){key}"


# By a key of the answer; the first that fits.
_SAYINGS: dict[str, Callable[[Answer], str]] = {
    "errors": lambda answer: "; ".join(each["message"] for each in answer["errors"]),
    "story": _story,
    "invoice": _entity,
    "transfer": _entity,
    "deposit": _entity,
    "webhook": _webhook,
    "fault": lambda answer: _fault(answer["fault"]),
    "known": _faults,
    "faults": lambda answer: f"{len(answer['faults'])} faults are on",
    "cleared": lambda answer: f"{answer['cleared']} cleared",
    "balanced": _statement,
    "requests": _requests,
    "delivery": _delivery,
    "deliveries": _deliveries,
    "repeat": _repeat,
    "dropped": lambda answer: f"{answer['dropped']} planned deliveries dropped",
    "delayed": lambda answer: f"{answer['delayed']} planned deliveries delayed",
    "saved": lambda answer: f"saved to {answer['saved']}",
    "clock": _clock,
    "public_key": lambda answer: "the bank signs with a new key",
    "project": _project,
    "projects": _projects,
    "settings": lambda answer: "\n".join(
        f"{name:<36} {json.dumps(value)}" for name, value in answer["settings"].items()
    ),
}
