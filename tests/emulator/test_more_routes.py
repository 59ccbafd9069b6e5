"""The calls around the main ones: Pix keys, workspaces, institutions, the split profile, the statement."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.emulator.conftest import INVOICE, TRANSFER


def as_organization(signed: Any, method: str, path: str, body: bytes = b"", workspace: str = "") -> Any:
    access_id = "organization/4747474747474747" + (f"/workspace/{workspace}" if workspace else "")
    response = signed.client.request(
        method, path, content=body, headers=signed.headers(body, access_id=access_id)
    )
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("key", "kind", "owner"),
    [
        ("valid@sandbox.com", "email", "naturalPerson"),
        ("012.345.678-90", "cpf", "naturalPerson"),
        ("01234567890", "cpf", "naturalPerson"),
        ("20.018.183/0001-80", "cnpj", "legalPerson"),
        ("+5511988887777", "phone", "naturalPerson"),
        ("b6295ee1-f054-47d1-9e90-ee57b74f60d9", "evp", "naturalPerson"),
    ],
)
def test_a_well_formed_pix_key_has_an_owner_and_always_the_same(
    signed: Any, key: str, kind: str, owner: str
) -> None:
    """A key of any kind has an invented owner that depends on the seed alone."""
    found = signed.get(f"/v2/dict-key/{key}")["key"]
    assert (found["type"], found["ownerType"], found["status"]) == (kind, owner, "registered")
    assert found == signed.get(f"/v2/dict-key/{key}")["key"]


@pytest.mark.parametrize("key", ["0", "nobody", "unknown@sandbox.com", "111.111.111-11", "+1555", "a@b"])
def test_what_is_no_pix_key_is_refused(signed: Any, key: str) -> None:
    """A text that is no key, or is nobody's, gets invalidPixKey."""
    assert signed.code("GET", f"/v2/dict-key/{key}") == "invalidPixKey"


def test_the_workspace_owns_one_random_key(signed: Any) -> None:
    """The list has the workspace's own evp key."""
    (own,) = signed.get("/v2/dict-key?type=evp&status=registered")["keys"]
    assert signed.get(f"/v2/dict-key/{own['id']}")["key"] == own
    assert signed.get("/v2/dict-key?type=cpf")["keys"] == []
    assert signed.code("GET", "/v2/dict-key?type=iban") == "invalidDictKey"


def test_only_an_organization_makes_workspaces(signed: Any) -> None:
    """A project may neither create workspaces nor see others than its own."""
    body = b'{"username": "mine", "name": "Mine", "allowedTaxIds": ["01234567890"]}'
    assert signed.code("POST", "/v2/workspace", body) == "invalidCredentials"
    status, answer = as_organization(signed, "POST", "/v2/workspace", body)
    row = answer["workspace"]
    assert (status, row["status"], row["allowedTaxIds"]) == (200, "active", ["012.345.678-90"])
    assert len(as_organization(signed, "GET", "/v2/workspace")[1]["workspaces"]) == 2
    assert len(signed.get("/v2/workspace")["workspaces"]) == 1
    assert as_organization(signed, "GET", "/v2/workspace?username=mine")[1]["workspaces"] == [row]


def test_a_workspace_is_renamed_blocked_and_pictured(signed: Any) -> None:
    """PATCH changes the name, the status and the picture."""
    own = signed.get("/v2/workspace")["workspaces"][0]["id"]
    path = f"/v2/workspace/{own}"
    picture = base64.b64encode(b"picture").decode()
    body = (
        f'{{"username": "new", "status": "blocked", "picture": "data:image/png;base64,{picture}"}}'.encode()
    )
    status, answer = as_organization(signed, "PATCH", path, body, workspace=own)
    assert (status, answer["workspace"]["username"], answer["workspace"]["status"]) == (200, "new", "blocked")
    assert answer["workspace"]["pictureUrl"].startswith("https://")


def test_a_picture_may_have_line_breaks_in_its_base64(signed: Any) -> None:
    """SDKs that encode as MIME break base64 every 76 characters."""
    own = signed.get("/v2/workspace")["workspaces"][0]["id"]
    picture = base64.encodebytes(b"picture" * 40).decode()
    assert picture.count("\n") > 1
    changes = {"picture": f"data:image/png;base64,{picture}"}
    assert signed.call("PATCH", f"/v2/workspace/{own}", changes)[0] == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"status": "frozen"}, "invalidStatus"),
        ({"username": "a b"}, "invalidUsername"),
        ({"username": "taken"}, "invalidUsername"),
        ({"picture": "nothing"}, "invalidPicture"),
        ({"picture": 1}, "invalidPicture"),
        ({"allowedTaxIds": "1"}, "invalidTaxId"),
        ({"allowedTaxIds": ["1"]}, "invalidTaxId"),
        ({"balance": 1}, "invalidJson"),
        ([], "invalidJson"),
    ],
)
def test_a_wrong_change_of_a_workspace_is_refused(signed: Any, changes: Any, code: str) -> None:
    """Each wrong change has its code."""
    signed.bank.workspaces.create({"username": "taken", "name": "Taken"}, signed.clock.now())
    own = signed.get("/v2/workspace")["workspaces"][0]["id"]
    assert signed.code("PATCH", f"/v2/workspace/{own}", changes) == code


def test_an_access_id_of_the_wrong_kind_is_unknown(signed: Any) -> None:
    """An organization's id does not work as a project's."""
    signed.project_id = "4747474747474747"
    assert signed.code("GET", "/v2/balance") == "invalidProject"
    signed.project_id = "5656565656565656/workspace/1"
    assert signed.code("GET", "/v2/balance") == "invalidProject"


def test_institutions_are_found_by_name_and_by_either_code(signed: Any) -> None:
    """Search, SPI codes, STR codes and limit narrow the list."""

    def names(query: str) -> list[str]:
        return [row["displayName"] for row in signed.get(f"/v2/institution?{query}")["institutions"]]

    assert names("search=STARK") == ["Stark Bank", "Stark SCD"]
    assert names("spiCodes=20018183") == ["Stark Bank"]
    assert names("strCodes=341,260") == ["Itaú Unibanco", "Nubank"]
    assert len(names("limit=3")) == 3


def test_an_unknown_query_parameter_is_ignored(signed: Any) -> None:
    """A list is answered as if the parameter were not there; README.md says why."""
    assert signed.get("/v2/institution?invalid=x") == signed.get("/v2/institution")


def test_the_split_profile_is_put_changed_and_shown(signed: Any) -> None:
    """PUT creates the one profile and changes it afterwards."""
    put = signed.call("PUT", "/v2/split-profile/", {"profiles": [{"interval": "day", "delay": 0}]})[1][
        "profiles"
    ]
    again = signed.call("PUT", "/v2/split-profile", {"profiles": [{"interval": "month"}]})[1]["profiles"]
    assert put[0]["id"] == again[0]["id"]
    assert signed.get("/v2/split-profile")["profiles"] == again
    assert signed.get(f"/v2/split-profile/{put[0]['id']}")["profile"]["interval"] == "month"
    for profile, code in (
        ({"interval": "year"}, "invalidInterval"),
        ({"delay": -1}, "invalidDelay"),
        ({"x": 1}, "invalidJson"),
    ):
        assert signed.code("PUT", "/v2/split-profile", {"profiles": [profile]}) == code
    assert signed.code("GET", "/v2/split-profile/1") == "invalidSplitProfile"


def test_the_statement_adds_up_to_the_balance(signed: Any) -> None:
    """Credits, a deposit, a transfer that arrived, one charged back and two reversals: all in the list."""
    bank, now = signed.bank, signed.clock.now()
    bank.preset.change({"invoice_fee_centavos": 7, "transfer_fee_centavos": 5})
    invoice = bank.create_invoices([INVOICE], now)[0]
    bank.invoices.pay(invoice["id"], now)
    deposit = bank.deposits.receive({"amount": 900}, now)
    bank.create_transfers([TRANSFER], now)
    failing = bank.create_transfers([{**TRANSFER, "amount": 2_000}], now)[0]
    signed.advance(2.9)
    bank.transfers.fail(failing["id"], "Account closed", signed.clock.now())
    signed.advance(60)
    signed.call("PATCH", f"/v2/invoice/{invoice['id']}", {"amount": 12})
    signed.call("PATCH", f"/v2/deposit/{deposit['id']}", {"amount": 0})
    signed.advance(60)
    rows = signed.get("/v2/transaction")["transactions"]
    assert len(rows) == 8
    balance = signed.get("/v2/balance")["balances"][0]["amount"]
    assert sum(row["amount"] for row in rows) == balance == 100_000 + 12 - 7 - 1_000 - 5
    total = 0
    for row in reversed(rows):
        total += row["amount"]
        assert row["balance"] == total
    some = rows[3]
    assert signed.get(f"/v2/transaction?externalIds={some['externalId']}")["transactions"] == [some]
    assert signed.get(f"/v2/transaction/{some['id']}")["transaction"] == some


def test_fields_trim_lists_and_single_entities(signed: Any) -> None:
    """`fields` leaves only the named keys, also for one entity."""
    invoice = signed.bank.create_invoices([INVOICE], signed.clock.now())[0]
    assert signed.get("/v2/invoice?fields=id,amount")["invoices"] == [{"id": invoice["id"], "amount": 48_712}]
    assert signed.get(f"/v2/invoice/{invoice['id']}?fields=status")["invoice"] == {"status": "created"}
    assert signed.get("/v2/balance?fields=currency")["balances"] == [{"currency": "BRL"}]
