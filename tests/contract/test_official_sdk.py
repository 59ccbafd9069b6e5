"""The tests that ship in Stark Bank's own Python SDK, unmodified, through the untouched SDK and the HTTPS proxy."""

import importlib.metadata
import importlib.util
import json
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contract.populated import populated_emulator
from tests.running import ROOT, Runner

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(300)]

# How many of their tests there are for each resource, in tests/sdk and in the older tests/api.
OFFICIAL = {
    "key": (2, 0),
    "balance": (1, 1),
    "invoice": (9, 19),
    "invoice log": (4, 4),
    "transfer": (8, 13),
    "transfer log": (3, 4),
    "event": (9, 7),
    "webhook": (4, 3),
    "transaction": (6, 7),
    "deposit": (4, 4),
    "deposit log": (4, 3),
    "institution": (1, 1),
    "dict key": (3, 3),
    "workspace": (6, 3),
    "request": (10, 0),
    # The generic half of the SDK, starkcore, has its own: plural names, the public key, raw and typed calls.
    "starkcore": (21, 0),
}
# What cannot pass for a reason that lies outside the emulator, with the reason.
OUTSIDE = {
    f"tests.api.testTransaction.TestTransactionPost.{name}": "the SDK itself refuses this call since 2.31.0"
    for name in (
        "test_success",
        "test_fail_invalid_array_size",
        "test_fail_invalid_json",
        "test_fail_invalid_json_transaction",
    )
}
if (datetime.now(UTC) - timedelta(hours=3)).hour > 19:
    # It hands a datetime to datetime.fromisoformat, but only in the evening of São Paulo.
    OUTSIDE["tests.api.testTransfer.TestTransferPost.test_success"] = (
        "its own mistake after 20:00 in São Paulo"
    )


def modules_of(resource: str) -> list[str]:
    """The official modules of a resource."""
    if resource == "starkcore":
        return ["tests.testApi", "tests.testParse", "tests.testRest"]
    camel = "".join(word.capitalize() for word in resource.split())
    modules = [f"tests.sdk.test_{resource.replace(' ', '_')}", f"tests.api.test{camel}"]
    return [module for module, count in zip(modules, OFFICIAL[resource], strict=True) if count]


def test_every_official_test_passes_but_those_that_cannot_pass_anywhere(tmp_path: Path) -> None:
    """Each module is found and read by this Python, has as many tests as listed, and fails in nothing else."""
    outcomes = run_official_tests(tmp_path)
    assert [name for name in outcomes if "_FailedTest" in name] == [], sys.version
    assert {name: error for name, error in outcomes.items() if error and name not in OUTSIDE} == {}
    assert {name for name in OUTSIDE if not outcomes[name]} == set(), "these pass after all"
    found = {
        resource: sum(name.rsplit(".", 2)[0] in modules_of(resource) for name in outcomes)
        for resource in OFFICIAL
    }
    assert found == {resource: sum(counts) for resource, counts in OFFICIAL.items()}


def run_official_tests(folder: Path) -> dict[str, str]:
    """What came of every official test, by its id; empty for a pass."""
    copy_official_tests(folder)
    modules = [module for resource in OFFICIAL for module in modules_of(resource)]
    # Theirs check recorded events of the real sandbox, hence --sandbox-key.
    with populated_emulator(folder, "--sandbox-key") as populated:
        # Two of them reverse "the newest paid invoice", which must not be the same one still on its way back.
        populated.ask("PATCH", "settings", reversal_step_seconds=0.01)
        ended = Runner(folder).run(
            str(ROOT / "tests/contract/run_official.py"), *modules, environment=populated.environment
        )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def copy_official_tests(folder: Path) -> None:
    """Copy the installed tests as they are, and add the data files that the wheel leaves out."""
    installed = Path(str(importlib.util.find_spec("starkbank").origin)).parents[1] / "tests"  # type: ignore[union-attr]
    if not (installed / "sdk").is_dir():
        pytest.skip(f"starkbank {importlib.metadata.version('starkbank')} was installed without its tests")
    shutil.copytree(installed, folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    names = folder / "tests/utils/names"
    for name in ("names.male.first", "names.female.first", "names.all.last"):
        (names / name).write_text("BRUNO 50.0 50.0 1\nANA 50.0 100.0 2\n")
    (folder / "tests/utils/logo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    # Both wheels bring a `tests` package; starkcore's has this one name in it, and the other overwrote it.
    (folder / "tests/__init__.py").write_text('request_methods_prefix = "Joker"\n')
