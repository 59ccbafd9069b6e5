"""The API as it describes itself: calls made from the description get answers that fit it, and never a 500."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coincurve
import pytest
import requests
import schemathesis
from cryptography.hazmat.primitives.serialization import load_pem_private_key
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

from tests.emulator.conftest import Process

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
        pem = Path(process.environment["STARKBANK_PRIVATE_KEY_PATH"]).read_bytes()
        key: Any = load_pem_private_key(pem, None)
        self._key = coincurve.PrivateKey(key.private_numbers().private_value.to_bytes(32, "big"))
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
NEVER_DONE = {"POST /v2/workspace", "PUT /emulator/state", "GET /emulator/deliveries/{number}"}


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
    """Give every address in the description the one value of an address where nothing listens."""
    if isinstance(part, dict):
        if "url" in part.get("properties", {}):
            part["properties"]["url"] = {"enum": [NOWHERE]}
        for each in part.values():
            _call_nowhere(each)
    elif isinstance(part, list):
        for each in part:
            _call_nowhere(each)


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

    operations = [found.ok() for found in schema.get_all_operations()]
    # What is read must not have been deleted before.
    for operation in sorted(operations, key=lambda each: each.method == "delete"):
        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue
        with subtests.test(operation.label):
            bounded(given(operation.as_strategy(generation_mode=mode))(lambda case: call(case)))()
            assert mode is GenerationMode.NEGATIVE or operation.label in done
