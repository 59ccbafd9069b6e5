"""What is handed to Docker, Compose and systemd: none runs here, so it is checked, and what can be run is run."""

import fnmatch
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import requests
import yaml

from payments.settings import Settings
from tests.emulated import EmulatedBank
from tests.running import ROOT, Runner, free_port, plain_environment, wait_until

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
DOCKERFILES = [ROOT / "Dockerfile", ROOT / "emulator" / "Dockerfile"]
COMPOSE_FILES = [ROOT / "compose.yaml", ROOT / "emulator" / "compose.yaml"]
COMPOSE = COMPOSE_FILES[0].read_text("utf-8")
UNITS = sorted((ROOT / "ops").glob("repasse-*.service"))


def copied() -> list[tuple[str, str]]:
    """What the Dockerfile copies, and to where."""
    found = []
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = line.split()
        found += [(source, target) for source in sources]
    return found


def is_ignored(path: str) -> bool:
    """By .dockerignore: the last line that matches decides."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        parts = ["/".join(Path(path).parts[: depth + 1]) for depth in range(len(Path(path).parts))]
        if any(fnmatch.fnmatch(part, pattern) for part in [*parts, Path(path).name]):
            ignored = not line.startswith("!")
    return ignored


def assemble(folder: Path) -> None:
    """Put together what the image has in /app."""
    for source, target in copied():
        found = list(ROOT.glob(source))
        assert found, f"the Dockerfile copies {source}, and there is no such thing"
        for each in found:
            name = each.relative_to(ROOT)
            assert not is_ignored(str(name)), f".dockerignore keeps {name} out"
            to = folder / target / (each.name if target.endswith("/") else "")
            to.parent.mkdir(parents=True, exist_ok=True)
            if each.is_dir():
                shutil.copytree(each, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(each, to)


@pytest.mark.process
def test_the_images_files_are_enough_to_run_every_process(emulator: EmulatedBank, tmp_path: Path) -> None:
    """Release, web with the health check of the image, worker, and the scripts: from what is copied and no more."""
    app, port = tmp_path / "app", free_port()
    assemble(app)
    (app / ".venv").symlink_to(Path(sys.prefix))
    environment = plain_environment(
        **emulator.environment,
        DATABASE_URL=f"sqlite:///{tmp_path / 'data' / 'repasse.db'}",
        PORT=str(port),
    ) | {"PYTHONPATH": str(app)}
    runner = Runner(app)
    try:
        migrated = runner.run("-m", "payments.storage.migrate", environment=environment)
        assert migrated.returncode == 0, migrated.stderr
        web = runner.start("-m", "webhooks", environment=environment)
        web.wait_for("web.started")
        wait_until(lambda: _answers(port), "the web app answers")
        # With a proxy that no one answers at, which is not to be asked about this machine.
        proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
        check = runner.run(*_health_check()[1:], environment=environment | proxies)
        assert check.returncode == 0, check.stderr
        worker = runner.start("-m", "worker", environment=environment)
        worker.wait_for("worker.started")
        for command in (["job", "statement"], ["db", "verify"]):
            ended = runner.run("-m", "repasse", *command, environment=environment)
            assert ended.returncode == 0, ended.stderr
        assert web.stop() == 0
        assert worker.stop() == 0
        assert runner.run(*_health_check()[1:], environment=environment).returncode != 0
    finally:
        runner.kill_all()


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/health/live", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def _health_check() -> list[str]:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    assert command[0] == "python"
    return command


def test_the_workflow_runs_what_is_run_anywhere_else() -> None:
    """A public forge runs .ci/run, and so may not go green by checking less."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8"))
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_hooks_run_the_pinned_tools() -> None:
    """Each hook of pre-commit starts a tool of .venv, and names no version of its own."""
    [source] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert source["repo"] == "local"
    assert all(hook["entry"].startswith(".venv/bin/python -m ") for hook in source["hooks"])


def test_nothing_secret_goes_into_the_image() -> None:
    """Keys, settings and books lie in the checkout; Docker would send them along."""
    for name in (
        ".env",
        "privateKey.pem",
        "data/repasse.db",
        ".git/config",
        "payments/key.pem",
        "webhooks/.env.local",
    ):
        assert is_ignored(name), name
    assert not is_ignored("payments/storage/schema.py")
    assert re.search(r"^USER 10001$", DOCKERFILE, re.MULTILINE)


def test_every_command_is_a_program_of_ours() -> None:
    """In the image, in Compose, in the units and in the Procfile: a module that can be run."""
    texts = [
        DOCKERFILE,
        COMPOSE,
        *(unit.read_text("utf-8") for unit in UNITS),
        (ROOT / "Procfile").read_text("utf-8"),
    ]
    named = {module for text in texts for module in re.findall(r'python(?:", "| )-m(?:", "| )([\w.]+)', text)}
    assert named == {"webhooks", "worker", "payments.storage.migrate"}
    for module in named:
        found = importlib.util.find_spec(module)
        assert found is not None, module


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    """Neither in a Dockerfile nor in the shell lines within."""
    hadolint = Path(sys.prefix) / "bin" / "hadolint"
    checked = subprocess.run(
        [hadolint, "--no-color", dockerfile], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout + checked.stderr


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_compose_files_follow_the_specification(file: Path) -> None:
    """Every key is known and has a value of its kind; what a service refers to is there; no port is for others."""
    project = compose(file)
    compose_spec.PyCompose.from_json(json.dumps(project))
    services = project["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        volumes = {volume.partition(":")[0] for volume in service.get("volumes", [])}
        assert {volume for volume in volumes if "/" not in volume} <= set(project.get("volumes", {})), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_a_compose_file_with_a_slip_is_refused() -> None:
    """So that the test above can fail."""
    project = compose(COMPOSE_FILES[0])
    project["services"]["web"]["restrat"] = "always"
    with pytest.raises(ValueError, match="restrat"):
        compose_spec.PyCompose.from_json(json.dumps(project))


def test_compose_has_what_the_page_promises() -> None:
    """Web, worker, database and the release step; the database's password is demanded, not invented."""
    services = compose(COMPOSE_FILES[0])["services"]
    assert list(services) == ["database", "release", "web", "worker"]
    for name in ("web", "worker"):
        assert services[name]["depends_on"] == {"release": {"condition": "service_completed_successfully"}}
    ours = {name.upper() for name in Settings.model_fields}
    assert set(services["web"]["environment"]) <= ours
    unset = yaml.safe_load(COMPOSE_FILES[0].read_text("utf-8"))["services"]["database"]["environment"]
    assert unset["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")


def compose(file: Path) -> dict[str, Any]:
    """A Compose file as Compose reads it: anchors merged, variables filled in."""
    text = file.read_text("utf-8").replace("${PWD}", "/home/you")
    text = re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", r"a-\1", text)
    project: dict[str, Any] = yaml.safe_load(text)
    for service in project["services"].values():
        service.pop("<<", None)
    return project


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """Every line is one that it knows; paths are those of this checkout."""
    for unit in (ROOT / "ops").glob("repasse-*"):
        (tmp_path / unit.name).write_text(unit.read_text("utf-8").replace("/opt/repasse", str(ROOT)))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "repasse" in line]
    assert (checked.returncode, ours) == (0, []), checked.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_rates_the_units_as_confined(unit: Path) -> None:
    """An exposure of at most 2.0 of 10: a process that is taken over can do little besides its own work."""
    checked = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in checked.stderr:
        pytest.skip("this systemd is older than 250")
    assert checked.returncode == 0, checked.stdout
