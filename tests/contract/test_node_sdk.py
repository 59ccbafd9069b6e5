"""Stark Bank's own Node SDK does the job end to end against the emulator, untouched, through the HTTPS proxy."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.contract.populated import populated_emulator

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(300)]

# The version that the emulator is proved with; the README names it.
VERSION = "2.42.0"
# Its HTTP library, which npm chooses: the one of the SDK's own lock file, which sends the whole URL to the proxy
# instead of CONNECT (as all do up to 1.16.0), and a new one.
AXIOS_VERSIONS = ("1.6.2", "1.21.1")
JOB = Path(__file__).with_name("node_job.cjs")


@pytest.fixture(params=AXIOS_VERSIONS, ids="axios {}".format)
def node_modules(request: pytest.FixtureRequest) -> Path:
    """The SDK from npm, installed once for this machine; skips when that is not possible."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = Path(tempfile.gettempdir()) / f"repasse-node-sdk-{VERSION}-axios-{request.param}"
    if not (folder / "node_modules/starkbank/package.json").exists():
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts"]
        ended = subprocess.run(
            [*command, f"starkbank@{VERSION}", f"axios@{request.param}"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if ended.returncode:
            pytest.skip(f"npm could not install starkbank {VERSION}: {ended.stderr.strip()[-200:]}")
    axios = json.loads((folder / "node_modules/axios/package.json").read_text())
    assert axios["version"] == request.param
    return folder / "node_modules"


def test_the_node_sdk_does_the_job(node_modules: Path, tmp_path: Path) -> None:
    """Credits are forwarded, delivered events pass its own parser, and it reads all else that the emulator says."""
    # Everyone pays; an emulated day takes five minutes.
    with populated_emulator(tmp_path, "--paid-share", "1", "--speed", "300") as populated:
        ended = subprocess.run(
            ["node", str(JOB)],
            env={**populated.environment, "NODE_PATH": str(node_modules)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    # three invoices are paid, and three transfers of their net amounts arrive
    assert sorted(report["listed"]) == sorted(report["ids"])
    assert sorted(report["statuses"]) == [["success", 1000], ["success", 1001], ["success", 1002]]
    assert report["logTypes"] == ["success", "sending", "created"]
    # signatures are checked over the bytes that arrived
    kinds = {tuple(each) for each in report["events"]}
    assert {("invoice", "created"), ("invoice", "paid"), ("invoice", "credited")} <= kinds
    assert {("transfer", "created"), ("transfer", "sending"), ("transfer", "success")} <= kinds
    assert report["forged"] == "InvalidSignatureError"
    # accents, pages, files, refusals and lists
    assert set(report["names"]) == {"João Araújo"}
    assert (report["pageLength"], report["hasCursor"]) == (2, True)
    assert (report["qrcode"], report["pdf"]) == ("PNG", "%PDF-")
    assert report["endToEnd"].startswith("E20018183")
    assert report["refusal"] == ["invalidInvoice"]
    assert (report["balance"], report["undelivered"], report["deleted"]) == ("BRL", 3, True)
