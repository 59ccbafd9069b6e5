"""Several projects and keys: making, changing and rotating them, and from where they may call."""

from __future__ import annotations

import base64
import stat
from pathlib import Path
from typing import Any

import coincurve
import pytest

from emulator.books.refusal import Refusal
from emulator.protocol.credentials import Credentials, in_memory, open_folder
from emulator.protocol.keys import BadKeyFile, private_from_pem, private_pem, public_pem


def headers(project_id: str, pem: str) -> dict[str, str]:
    message = f"project/{project_id}:1795233431:".encode()
    return {
        "access-id": f"project/{project_id}",
        "access-time": "1795233431",
        "access-signature": base64.b64encode(private_from_pem(pem.encode()).sign(message)).decode(),
    }


def code_of(credentials: Credentials, project_id: str, pem: str, address: str = "") -> str:
    try:
        credentials.check_request(headers(project_id, pem), b"", address)
    except Refusal as refusal:
        return refusal.errors[0][0]
    return "welcome"


def test_a_new_project_may_call_with_the_key_that_it_was_given_once(signed: Any) -> None:
    """The private key is returned when the project is created, and never again."""
    made = signed.ask("POST", "projects", name="second")["project"]
    assert made["private_key"].startswith("-----BEGIN EC PRIVATE KEY-----")
    found = signed.client.get("/v2/balance", headers=headers(made["id"], made["private_key"]))
    assert found.status_code == 200
    listed = signed.ask("GET", "projects")["projects"]
    assert [each["name"] for each in listed if each["kind"] == "project"] == ["main", "second"]
    assert not any("private_key" in each for each in listed), "it is shown once"
    (entry,) = signed.ask("GET", f"requests?project={made['id']}")["requests"]
    assert entry["path"] == "/v2/balance"


def test_a_project_can_bring_its_own_public_key(signed: Any) -> None:
    """A project made with a public key calls with its own private one."""
    key = coincurve.PrivateKey()
    body = {"public_key": public_pem(key.public_key)}
    made = signed.ask("POST", "projects", **body)["project"]
    assert made["private_key"] is None
    found = signed.client.get("/v2/balance", headers=headers(made["id"], private_pem(key).decode()))
    assert found.status_code == 200


def test_after_a_change_of_key_the_old_one_is_refused(signed: Any) -> None:
    """Replacing a key takes effect with the next call."""
    made = signed.ask("POST", f"projects/{signed.project_id}/key")["project"]
    assert signed.code("GET", "/v2/balance") == "invalidCredentials"
    found = signed.client.get("/v2/balance", headers=headers(signed.project_id, made["private_key"]))
    assert found.status_code == 200


@pytest.mark.parametrize(
    ("allowed", "address", "verdict"),
    [
        ([], "203.0.113.9", "welcome"),
        (["203.0.113.9"], "203.0.113.9", "welcome"),
        (["203.0.113.9"], "203.0.113.10", "invalidIp"),
        (["10.0.0.0/8"], "10.1.2.3", "welcome"),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", "welcome"),
        (["2001:db8::/32"], "2001:db8::7", "welcome"),
        (["2001:db8::/32"], "10.1.2.3", "invalidIp"),
        (["10.0.0.0/8"], "", "invalidIp"),
    ],
)
def test_a_call_from_an_address_that_is_not_allowed_is_refused(
    allowed: list[str], address: str, verdict: str
) -> None:
    """A project with allowed addresses is refused from others with invalidIp."""
    credentials, pem = in_memory(1)
    project_id = credentials.project.project_id
    credentials.change_project(project_id, {"allowed_ips": allowed})
    assert code_of(credentials, project_id, pem, address) == verdict


def test_the_address_is_that_of_the_connection(signed: Any) -> None:
    """A forwarded-for header does not change the caller's address."""
    path = f"/emulator/projects/{signed.project_id}"
    signed.client.patch(path, json={"allowed_ips": ["192.0.2.1"]})
    assert signed.code("GET", "/v2/balance") == "invalidIp"
    signed.client.patch(path, json={"allowed_ips": []})
    signed.get("/v2/balance")


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("projects", {"public_key": "no key"}, "public_key"),
        ("projects", {"public_key": 5}, "public_key"),
        ("projects", {"allowed_ips": ["nowhere"]}, "allowed_ips"),
        ("projects", {"allowed_ips": "10.0.0.1"}, "allowed_ips"),
        ("projects", {"requests_per_minute": -1}, "requests_per_minute"),
        ("projects", {"name": 5}, "name"),
        ("projects", {"colour": 5}, "colour"),
        ("projects/1/key", {}, "no project 1"),
    ],
)
def test_a_wrong_project_is_refused_by_name(signed: Any, path: str, body: dict[str, Any], word: str) -> None:
    """Each wrong argument of a project is named."""
    assert word in signed.refused("POST", path, **body)


def test_projects_and_their_keys_are_there_again_after_a_restart(tmp_path: Path) -> None:
    """The data folder keeps projects and keys."""
    first = open_folder(tmp_path, 1)
    project, pem = first.add_project(
        {"name": "second", "allowed_ips": ["10.0.0.1"], "requests_per_minute": 9}
    )
    assert pem is not None
    assert project.private_key_path is not None
    assert stat.S_IMODE(project.private_key_path.stat().st_mode) == 0o600
    main = first.project.project_id
    _, new_pem = first.replace_key(main, {})
    assert new_pem is not None
    own = coincurve.PrivateKey()
    brought, _ = first.add_project({"public_key": public_pem(own.public_key)})

    again = open_folder(tmp_path, 1)
    assert again.project.project_id == main
    assert [each.to_json() for each in again.projects()] == [each.to_json() for each in first.projects()]
    assert code_of(again, main, new_pem) == "welcome"
    assert code_of(again, project.project_id, pem, "10.0.0.1") == "welcome"
    assert code_of(again, brought.project_id, private_pem(own).decode()) == "welcome"


def test_the_first_project_can_have_a_key_that_only_its_owner_has(tmp_path: Path) -> None:
    """The main project accepts a foreign public key, also after a restart."""
    first = open_folder(tmp_path, 1)
    own = coincurve.PrivateKey()
    first.replace_key(first.project.project_id, {"public_key": public_pem(own.public_key)})
    again = open_folder(tmp_path, 1)
    assert code_of(again, again.project.project_id, private_pem(own).decode()) == "welcome"
    assert again.project.private_key_path is None


@pytest.mark.parametrize("text", ["not json", "[1]", '[{"id": "1"}]', '{"id": "1"}'])
def test_a_corrupt_list_of_projects_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    """A broken projects.json prints one line with what to do."""
    open_folder(tmp_path, 1)
    (tmp_path / "projects.json").write_text(text)
    with pytest.raises(BadKeyFile, match=r"projects\.json is not a list of projects; remove it"):
        open_folder(tmp_path, 1)
