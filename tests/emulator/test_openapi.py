"""The API as it describes itself: calls made from the description get answers that fit it, and never a 500."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from emulator.behaviour import populate
from emulator.books import checks
from emulator.books.fields import Field, object_schema, whole
from emulator.protocol.keys import private_from_pem
from tests.emulator.conftest import INVOICE, NOW, Process, Signed, quiet_bank, served

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# Nothing listens there, and nothing outside this machine is called.
NOWHERE = "http://127.0.0.1:9/hook"
TAX_IDS = ["012.345.678-90", "52998224725", "20.018.183/0001-80"]
schemathesis.openapi.format("tax-id", st.sampled_from(TAX_IDS))
# Most days that can be written have passed, and are refused for it.
schemathesis.openapi.format("date", st.sampled_from(["2099-01-31", "2024-02-29"]))
schemathesis.openapi.format(
    "date-time", st.sampled_from(["2099-01-31T12:00:00Z", "2099-01-31T12:00:00.5-03:00"])
)


class Signing(AuthBase):
    """Signs a request as an SDK does, over the bytes that are sent."""

    def __init__(self, process: Process) -> None:
        self._key = private_from_pem(Path(process.environment["STARKBANK_PRIVATE_KEY_PATH"]).read_bytes())
        self._access_id = f"project/{process.environment['STARKBANK_PROJECT_ID']}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        signature = self._key.sign(f"{self._access_id}:1795233431:".encode() + body)
        request.headers["Access-Id"] = self._access_id
        request.headers["Access-Time"] = "1795233431"
        request.headers["Access-Signature"] = base64.b64encode(signature).decode()
        return request


@pytest.fixture
def bank(start_emulator: Callable[..., Process]) -> Process:
    """An emulator with rows of every kind, whose clock stands still."""
    return start_emulator("--populate", "--paused", "--seed", "7")


@pytest.fixture
def schema(bank: Process) -> Any:
    """The emulator's description, in which the parameters of paths are ids that exist."""
    document = bank.get("/emulator/openapi.json")
    signing = Signing(bank)
    profile = requests.put(f"{bank.url}/v2/split-profile", json={"profiles": [{}]}, auth=signing, timeout=20)
    profile.raise_for_status()
    for path, operations in document["paths"].items():
        if "{" in path:
            ids = _ids(bank, signing, path)
            for operation in operations.values():
                for parameter in operation["parameters"]:
                    if parameter["in"] == "path":
                        parameter["schema"] = {"enum": ids}
    _call_nowhere(document["paths"])
    made = schemathesis.openapi.from_dict(document)
    made.config.update(base_url=bank.url)
    return made


# Which story makes the row that a call is about; the first that fits.
STORIES = {
    r"GET /v2/invoice/\{id\}/payment": "invoice.paid",
    r"GET /v2/transfer/\{id\}/pdf": "transfer.success",
    r".*/invoices/\{id\}/reverse": "invoice.credited",
    r"(PATCH /v2/invoice|POST /emulator/invoices)/\{id\}.*": "invoice.created",
    r"(DELETE /v2/transfer|POST /emulator/transfers)/\{id\}.*": "transfer.created",
}
# These need what no call here has: an organization's key, a saved state, deliveries.
NEVER_DONE = {
    "POST /v2/workspace",
    "PUT /emulator/state",
    "GET /emulator/deliveries/{number}",
    "POST /emulator/deliveries/{number}/repeat",
}


def _ids(bank: Process, signing: Signing, path: str) -> list[str]:
    """Some ids of what a path is about, and one of nothing."""
    if path.startswith("/emulator/projects"):
        return [bank.post("/emulator/projects", name="other")["project"]["id"]]
    if "{number}" in path:
        return ["1", "2", "3"]
    resource = re.sub(r"/\{.*", "", path).replace("/emulator/", "/v2/").rstrip("s")
    reversals = "&types=reversed" if path.endswith("log/{id}/pdf") else ""
    found = requests.get(f"{bank.url}{resource}?limit=5{reversals}", auth=signing, timeout=20).json()
    rows = next(value for value in found.values() if isinstance(value, list))
    if "{uuid}" in path:
        return [re.sub(r".*/|\.pdf$", "", row["pdf"]) for row in rows]
    return ["1", *(row["id"] for row in rows)]


def _call_nowhere(part: Any) -> None:
    """Give every address that a body may hold no other value than one where nothing listens."""
    if isinstance(part, dict):
        if "url" in part.get("properties", {}):
            is_required = "url" in part.get("required", ())
            part["properties"]["url"] = {"enum": [NOWHERE] if is_required else [NOWHERE, None]}
        for key, each in part.items():
            if key != "responses":
                _call_nowhere(each)
    elif isinstance(part, list):
        for each in part:
            _call_nowhere(each)


# An invoice is either canceled or changed, so that few of the possible bodies are accepted.
EXAMPLES = {"PATCH /v2/invoice/{id}": 60}
# Every run makes the same calls.
bounded = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_emulator_does_as_its_description_says(
    bank: Process, schema: Any, mode: GenerationMode, subtests: pytest.Subtests
) -> None:
    """Calls that the description allows, or forbids, get an answer that it describes and that fits."""
    signing = Signing(bank)
    done = set(NEVER_DONE)

    def call(case: Any) -> None:
        is_ours = case.path.startswith("/emulator")
        kind = next(
            (story for label, story in STORIES.items() if re.fullmatch(label, case.operation.label)), None
        )
        if kind is not None:
            made = bank.post("/emulator/trigger", name=kind, amount=100)
            case.path_parameters["id"] = made[kind.partition(".")[0]]["id"]
        response = case.call(auth=None if is_ours else signing)
        if is_ours and case.method != "GET":
            # What a call switched on must not strike the next one.
            requests.delete(f"{bank.url}/emulator/faults", timeout=20)
            bank.post("/emulator/preset", name="sandbox")
        if response.status_code == 200:
            done.add(case.operation.label)
        # Whatever a query says is a list of words; a body can be wrong.
        is_wrong = (
            mode is GenerationMode.NEGATIVE and case.meta.components[ParameterLocation.BODY].mode is mode
        )
        case.validate_response(response, checks=[*CHECKS, *([negative_data_rejection] if is_wrong else [])])

    operations: list[Any] = [found.ok() for found in schema.get_all_operations()]
    # What is read must not have been deleted before.
    for operation in sorted(operations, key=lambda each: each.method == "delete"):
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue
        with subtests.test(operation.label):

            def check(case: Any) -> None:
                call(case)

            often = settings(bounded, max_examples=EXAMPLES.get(operation.label, bounded.max_examples))
            often(given(operation.as_strategy(generation_mode=mode))(check))()  # type: ignore[no-untyped-call]
            assert mode is GenerationMode.NEGATIVE or operation.label in done


def test_the_examples_of_bodies_are_accepted(signed: Signed) -> None:
    """What the page proposes to send to /v2 works as it stands."""
    document = signed.ask("GET", "openapi.json")
    for method, path in (
        ("POST", "invoice"),
        ("POST", "transfer"),
        ("POST", "webhook"),
        ("PUT", "split-profile"),
    ):
        body = document["paths"][f"/v2/{path}"][method.lower()]["requestBody"]["content"]["application/json"]
        assert signed.call(method, f"/v2/{path}", body["example"])[0] == 200


def test_a_field_of_the_checks_is_in_the_description(signed: Signed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A field added to the table that checks invoices is accepted, and described as it is checked."""
    added = whole("invalidColour", "colour must be a whole number", 1, 7)
    monkeypatch.setitem(cast("dict[str, Field]", checks.INVOICE), "colour", added)
    assert signed.code("POST", "/v2/invoice", {"invoices": [{**INVOICE, "colour": 8}]}) == "invalidColour"
    described = object_schema(checks.INVOICE)["properties"]["colour"]["anyOf"][0]
    assert described == {"type": "integer", "minimum": 1, "maximum": 7}


def test_every_row_of_a_populated_bank_has_exactly_the_described_keys() -> None:
    """Neither has an entity a key that its description lacks, nor the other way round."""
    bank = quiet_bank()
    populate.populate(bank, NOW)  # before it is served: the application would let time pass meanwhile
    with served(bank) as signed:
        _assert_rows_are_as_described(signed)


def _assert_rows_are_as_described(signed: Signed) -> None:
    document = signed.ask("GET", "openapi.json")
    seen = set()
    for path, operations in document["paths"].items():
        answer = operations.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
        properties = answer.get("application/json", {}).get("schema", {}).get("properties", {})
        if "{" in path or not path.startswith("/v2") or "cursor" not in properties:
            continue
        plural = next(name for name in properties if name != "cursor")
        entity = properties[plural]["items"]["$ref"].rpartition("/")[2]
        for row in signed.get(path)[plural]:
            assert set(row) == set(document["components"]["schemas"][entity]["properties"]), entity
            seen.add(entity)
    assert {
        "Invoice",
        "InvoiceLog",
        "Transfer",
        "Deposit",
        "Webhook",
        "Balance",
        "Workspace",
        "PublicKey",
    } <= seen


def test_a_call_that_is_tried_on_the_page_is_signed_by_the_emulator(bank: Process) -> None:
    """`/emulator/signed` passes a call of /v2 on under the first project's key, and not for another site."""
    url = f"{bank.url}/emulator/signed/v2/invoice?limit=1"
    assert len(requests.get(url, timeout=20).json()["invoices"]) == 1
    made = requests.post(url, json={"invoices": [INVOICE]}, timeout=20)
    assert made.json()["invoices"][0]["amount"] == INVOICE["amount"]
    assert requests.get(f"{bank.url}/v2/invoice", timeout=20).status_code == 400
    other = requests.post(url, json={}, headers={"Origin": "http://evil.test"}, timeout=20)
    assert (other.status_code, other.json()["errors"][0]["code"]) == (403, "forbidden")
    (entry,) = bank.get("/emulator/requests?method=POST&status=200&path=/v2/*")["requests"]
    assert entry["project"] == bank.environment["STARKBANK_PROJECT_ID"]


def test_the_page_of_the_api_is_served_from_here_alone(signed: Signed) -> None:
    """Its files come from this process, under the headers that let a browser load nothing from elsewhere."""
    page = signed.client.get("/emulator/api")
    assert page.status_code == 200
    names = re.findall(r'(?:src|href)="(/emulator/static/[^"]+)"', page.text)
    assert len(names) == 4
    for name in names:
        file = signed.client.get(name)
        assert file.status_code == 200
        assert "default-src 'none'" in file.headers["Content-Security-Policy"]
    assert not re.findall(r'(?:src|href)="(?!/emulator|data:)', page.text)
    assert signed.client.get("/emulator/static/nothing.js").status_code == 404


def test_a_call_is_not_signed_without_the_key(signed: Signed) -> None:
    """A project whose private key only its owner has gets a refusal that says so."""
    answer = signed.client.get("/emulator/signed/v2/balance")
    assert answer.status_code == 400
    assert "private key" in answer.json()["errors"][0]["message"]
