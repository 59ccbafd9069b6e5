"""What the commands print: an answer of the management API as a few lines for people."""

from __future__ import annotations

import json
from typing import Any

from emulator.management.sentences import money, sentence

# Of an answer that was not 200, in characters: the first line of most frameworks' errors.
ANSWER_MAX = 100


def story(answer: dict[str, Any]) -> str:
    """How a story ended, and how many events it sent."""
    count = answer["deliveries"]
    sent = f"{count} event{'' if count == 1 else 's'} sent" if count else "no webhook is subscribed"
    entity = {key: value for key, value in answer.items() if key not in ("deliveries", "story")}
    return f"{answer['story']}: {sentence(entity)}; {sent}"


def faults(answer: dict[str, Any]) -> str:
    """What is on, and all there is."""
    lines = [sentence({"fault": fault}) for fault in answer["faults"]] or ["no fault is on"]
    lines += ["", "faults:"] + [f"  {name:<20} {words}" for name, words in answer["known"].items()]
    lines += ["", "scenarios:"]
    for name, given in answer["scenarios"].items():
        options = ", ".join(f"{key} {value}" for key, value in given.items() if key != "name")
        lines.append(f"  {name:<20} {given['name']}" + (f" ({options})" if options else ""))
    lines += ["", f"packs: {', '.join(answer['packs'])}"]
    return "\n".join(lines)


def requests(answer: dict[str, Any]) -> str:
    """One line for each request."""
    if "cleared" in answer:
        return sentence(answer)
    return "\n".join(
        f"{each['number']:>5} {each['at'][11:19]} {each['status']:>3} {each['method']:<6} {each['path']}"
        f"{'?' + each['query'] if each['query'] else ''} {' '.join(each['errors'])} {each['fault'] or ''}".rstrip()
        for each in answer["requests"]
    )


def deliveries(answer: dict[str, Any]) -> str:
    """One line for each post."""
    return sentence(answer) if "cleared" in answer else "\n".join(map(delivery, answer["deliveries"]))


def delivery(entry: dict[str, Any]) -> str:
    """One post and its outcome; of a bad answer also the beginning, where it is known."""
    status = entry["status"] or entry["code"] or ""
    words = " ".join(entry.get("answer", "").split())[:ANSWER_MAX] if status != 200 else ""
    return (
        f"{entry['number']:>5} {entry['at'][11:19]} {status:>3} {entry['subscription']}.{entry['type']:<10} "
        f"event {entry['event']} to {entry['url']} in {entry['ms']:.0f} ms{' forged' if entry['forged'] else ''}"
        f"{': ' + words if words else ''}"
    )


def listened(answer: dict[str, Any]) -> str:
    """What there was to hear."""
    count = answer["posts"]
    return f"the webhook is removed; {count} post{'' if count == 1 else 's'} to {answer['webhook']['url']}"


def statement(answer: dict[str, Any]) -> str:
    """Where every centavo is."""
    credited = answer["credited"]
    lines = [
        f"invoices      {', '.join(f'{count} {status}' for status, count in answer['invoices'].items()) or 'none'}",
        f"credited      {credited['count']}, {money(credited['net_centavos'])} "
        f"(fees {money(credited['fee_centavos'])})",
        *(
            f"transfers     {found['count']} {status}, {money(found['centavos'])}"
            for status, found in answer["transfers"].items()
        ),
        f"reversed      {money(answer['reversed_centavos'])}",
        f"balance       {money(answer['balance_centavos'])}",
        f"forwarded     {answer['forwarded_exactly_once']} exactly once"
        + "".join(
            f", {len(answer[name])} {name.replace('_', ' ')}"
            for name in ("unpaid", "in_flight", "paid_twice", "wrong_amount", "foreign")
            if answer[name]
        ),
        f"balanced      {'yes' if answer['balanced'] else 'NO'}",
    ]
    return "\n".join(lines)


def settings(answer: dict[str, Any]) -> str:
    """One line for each setting."""
    return "\n".join(f"{name:<36} {json.dumps(value)}" for name, value in answer["settings"].items())


def projects(answer: dict[str, Any]) -> str:
    """One line for each project."""
    return "\n".join(
        f"{each['id']} {each['kind']:<12} {each['name']:<16} "
        f"{'limit of all' if each['requests_per_minute'] is None else each['requests_per_minute']}  "
        f"{' '.join(each['allowed_ips']) or 'any address'}  {each['private_key_path'] or 'no private key here'}"
        for each in answer["projects"]
    )


def project(answer: dict[str, Any]) -> str:
    """One project, and where its key is."""
    project = answer["project"]
    key = f"; its private key is in {project['private_key_path']}" if project["private_key_path"] else ""
    return sentence(answer) + key
