"""`evaldock doctor` as a whole: bounded in time, machine-readable, silent about secrets."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.kit.cli import Ended, evaldock
from tests.kit.fake_engine import ENFORCED, fake_engine, silent_port, silent_socket
from tests.kit.programs import fake_program, only_programs
from tests.kit.raw_server import dribble_header, raw_server

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.secrets import VARIABLES
from evaldock.diagnosis.survey import examine

pytestmark = pytest.mark.slow  # starts processes, or waits

CANARY = "canary-4711"
SUBJECTS = ["engines", "own engine", "GPUs", "images and tools", "disk", "network", "secrets", "machine"]
KEYS = {"subject", "what", "state", "found", "fix", "needed", "fixable"}


def doctor(folder: Path, *flags: str, env: Mapping[str, str] | None = None) -> Ended:
    return evaldock("doctor", *flags, cwd=folder, env=env, timeout_s=60)


def test_a_machine_with_an_engine_lacks_nothing_needed(tmp_path: Path) -> None:
    with fake_engine(tmp_path) as host:
        ended = doctor(tmp_path, "--offline", "--json", env={"DOCKER_HOST": host})

    assert ended.code == 0, ended.err
    assert ended.err == ""
    assert ended.json["repairs"] == []
    assert all(set(finding) == KEYS for finding in ended.json["findings"])
    assert list(dict.fromkeys(finding["subject"] for finding in ended.json["findings"])) == SUBJECTS
    first = ended.json["findings"][0]
    assert (first["what"], first["state"], first["subject"]) == ("container engine", "ok", "engines")


def test_a_dead_engine_exits_7_with_the_fix_on_stdout(tmp_path: Path) -> None:
    ended = doctor(tmp_path, "--offline", env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})

    assert ended.code == 7
    assert "LACK  container engine: none answers at DOCKER_HOST" in ended.out
    assert "      fix: start that engine" in ended.out
    assert "\x1b" not in ended.out


@pytest.mark.slow
def test_hanging_engines_servers_and_drivers_cost_15_seconds_at_most(tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "nvidia-smi", "exec sleep 60")
    fake_program(tmp_path / "bin", "podman", "exec sleep 60")
    started_s = time.monotonic()
    with silent_socket(tmp_path) as host, silent_port() as port, raw_server(dribble_header) as dribbling:
        server = f"http://127.0.0.1:{port}"
        ended = doctor(
            tmp_path,
            "--json",
            env={
                "DOCKER_HOST": host,
                "HF_ENDPOINT": dribbling,  # no timeout of a read ends this one
                "PIP_INDEX_URL": f"{server}/simple",
                "NO_PROXY": "127.0.0.1",
                "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            },
        )
    took_s = time.monotonic() - started_s

    assert ended.code == 7
    found = {finding["what"]: finding["found"] for finding in ended.json["findings"]}
    assert "does not answer" in found["engine at DOCKER_HOST"]
    assert "has not answered" in found["GPUs"]
    assert "does not end" in found["podman"]
    assert "no answer in time" in found[f"package index 127.0.0.1:{port}"]
    assert "no answer in time" in found[f"model and data hub {dribbling.removeprefix('http://')}"]
    assert took_s < 15


@pytest.mark.parametrize("flags", [("--json",), ()])
def test_no_secret_is_ever_shown(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "home" / ".netrc").write_text(f"machine x password {CANARY}\n", encoding="utf-8")
    login = f"{CANARY}:{CANARY}@127.0.0.1:1"
    addresses = {
        "DOCKER_HOST": f"tcp://{login}",
        "PIP_INDEX_URL": f"http://{login}/{CANARY}/simple",
        "PIP_EXTRA_INDEX_URL": f"http://{login}/other",
        "HF_ENDPOINT": f"http://{login}",
        "HTTPS_PROXY": f"http://{login}",
    }
    keys = dict.fromkeys(VARIABLES, f"{CANARY}\n")

    ended = doctor(tmp_path, *flags, env=addresses | keys)

    assert ended.code == 7
    assert "HF_TOKEN" in ended.out
    assert CANARY not in ended.out + ended.err


def test_fix_announces_does_and_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "home" / ".netrc"
    netrc.touch(mode=0o644)
    folder = tmp_path / "temporary"
    # Nothing else can be mended on this PATH.
    only_programs(tmp_path / "bin", monkeypatch, "chmod", "mkdir")
    with fake_engine(tmp_path) as host:
        env = {"DOCKER_HOST": host, "TMPDIR": str(folder)}
        asked = doctor(tmp_path, "--offline", "--json", env=env)
        assert netrc.stat().st_mode & 0o777 == 0o644
        assert not folder.exists()
        fixed = doctor(tmp_path, "--offline", "--json", "--fix", env=env)

    fixable = {finding["what"] for finding in asked.json["findings"] if finding["fixable"]}
    assert fixable == {f"logins in {netrc}", "temporary files"}
    assert netrc.stat().st_mode & 0o777 == 0o600
    assert folder.is_dir()
    assert {done["what"] for done in fixed.json["repairs"]} == fixable
    assert [line for line in fixed.err.splitlines() if "chmod" in line] == [
        f"evaldock: logins in {netrc}: chmod 600 {netrc}"
    ]
    assert not any(finding["fixable"] for finding in fixed.json["findings"])


def test_every_lack_has_a_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    only_programs(tmp_path / "bin", monkeypatch)

    findings = [
        finding for part in examine(Facts(output=Path("results"), contacts=())) for finding in part.findings
    ]

    lacks = {finding.what: finding.fix for finding in findings if finding.state == "lack"}
    assert {"container engine", "build tools", "images"} <= set(lacks)
    assert [what for what, fix in lacks.items() if not fix] == []


def test_a_subject_that_cannot_be_looked_at_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with fake_engine(tmp_path, dict(ENFORCED)) as host:
        ended = doctor(tmp_path, "--offline", "--json", env={"DOCKER_HOST": host})

    assert ended.code == 7
    disk = [finding for finding in ended.json["findings"] if finding["subject"] == "disk"]
    assert any(finding["needed"] and "cannot be looked at" in finding["found"] for finding in disk)


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_groups_and_colours_unless_told_not_to(
    tmp_path: Path, variables: Mapping[str, str], coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    argv = [sys.executable, "-c", "from evaldock.cli.main import main; main()", "doctor", "--offline"]
    process = subprocess.Popen(
        argv,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**env, "TERM": "xterm-256color", "DOCKER_HOST": f"unix://{tmp_path}/none.sock", **variables},
    )
    os.close(theirs)
    text = ""
    while True:
        try:
            text += os.read(ours, 65536).decode(errors="replace")
        except OSError:
            break
    os.close(ours)
    assert process.wait(timeout=30) == 7
    assert re.search(r"^(\x1b\[\d+m)*engines", text, re.MULTILINE)
    assert bool(re.search(r"\x1b\[(\d;)?3\dm", text)) is coloured


def test_json_is_one_document(tmp_path: Path) -> None:
    ended = doctor(tmp_path, "--offline", "--json", env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert json.loads(ended.out)["findings"]
