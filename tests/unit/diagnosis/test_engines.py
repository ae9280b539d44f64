"""Which engines the doctor finds, and what it says of those that are of no use."""

import os
import socket
import time
from pathlib import Path

import pytest
from tests.kit.fake_engine import DOCKER, ENFORCED, PODMAN, fake_engine, silent_port, silent_socket
from tests.kit.programs import fake_program, only_programs
from tests.unit.diagnosis.findings import named

from evaldock.diagnosis import clock, engines, limits
from evaldock.diagnosis.engine_api import Address, DeadEngine, Engine, Info, Version, probe
from evaldock.diagnosis.facts import Facts, gather


def facts_with(answer: Engine | DeadEngine) -> Facts:
    if isinstance(answer, Engine):
        return Facts(output=Path("results"), engines=(answer,))
    return Facts(output=Path("results"), dead=(answer,))


def asked(url: str) -> Engine | DeadEngine:
    return probe(Address(url=url, source="DOCKER_HOST", tried=True, named=True))


def test_an_engine_is_shown_with_version_api_storage_and_control_groups(tmp_path: Path) -> None:
    with fake_engine(tmp_path) as host:
        findings = list(engines.findings(facts_with(asked(host))))

    assert named(findings, "container engine").found == f"docker 20.10.24 at {host} (DOCKER_HOST)"
    assert named(findings, "engine at DOCKER_HOST").found == (
        "docker 20.10.24, API 1.41, rootful, storage overlay2, control groups v2 by systemd"
    )
    assert {finding.state for finding in findings} == {"ok"}


def test_an_engine_with_a_too_old_api_is_a_needed_lack(tmp_path: Path) -> None:
    with fake_engine(tmp_path, version={**DOCKER, "Version": "18.09", "ApiVersion": "1.39"}) as host:
        finding = named(engines.findings(facts_with(asked(host))), "engine at DOCKER_HOST")

    assert (finding.state, finding.needed) == ("lack", True)
    assert "needs API 1.40" in finding.found


def test_podman_behind_the_docker_api_is_named_with_what_it_ignores(tmp_path: Path) -> None:
    with fake_engine(tmp_path, version=PODMAN) as host:
        finding = named(engines.findings(facts_with(asked(host))), "podman as docker")

    assert finding.state == "lack"
    assert "ignores wishes for GPUs" in finding.found
    assert "execution.engine=podman" in (finding.fix or "")


@pytest.mark.parametrize(
    ("option", "words"), [("name=userns", "userns-remap"), ("name=seccomp,profile=default", "belong to")]
)
def test_a_remapped_user_is_said_to_own_results(tmp_path: Path, option: str, words: str) -> None:
    with fake_engine(tmp_path, {**ENFORCED, "SecurityOptions": [option]}) as host:
        finding = named(limits.findings(facts_with(asked(host))), "files of containers")

    assert finding.state == ("lack" if "userns" in option else "ok")
    assert words in finding.found


@pytest.mark.parametrize("missing", ["MemoryLimit", "PidsLimit", "CpuCfsQuota"])
def test_a_limit_that_the_engine_does_not_enforce_is_named(tmp_path: Path, missing: str) -> None:
    with fake_engine(tmp_path, {**ENFORCED, missing: False}) as host:
        finding = named(limits.findings(facts_with(asked(host))), "container limits")

    names = {"MemoryLimit": "memory", "PidsLimit": "processes", "CpuCfsQuota": "cpu"}
    assert (finding.state, finding.found) == ("lack", f"not enforced by this engine: {names[missing]}")


def test_an_engine_whose_clock_is_an_hour_ahead_is_a_lack(tmp_path: Path) -> None:
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    with fake_engine(tmp_path, {**ENFORCED, "SystemTime": later}) as host:
        finding = named(clock.findings(facts_with(asked(host))), "clock against the engine")

    assert (finding.state, finding.found) == ("lack", "ours is 60 minutes behind")


@pytest.mark.slow
def test_a_socket_that_never_answers_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stale))
    with silent_socket(tmp_path) as host, silent_port() as port:
        answers = [
            asked(url) for url in (host, f"tcp://127.0.0.1:{port}", f"unix://{stale}", "unix:///no.sock")
        ]

    assert [answer.trouble for answer in answers if isinstance(answer, DeadEngine)] == [
        "silent",
        "silent",
        "refused",
        "absent",
    ]
    finding = named(engines.findings(facts_with(answers[0])), "engine at DOCKER_HOST")
    assert finding.fix == "restart that engine: systemctl restart docker"


def test_what_is_no_docker_api_is_strange(tmp_path: Path) -> None:
    with fake_engine(tmp_path, version={}) as host:
        answer = asked(host)
    assert isinstance(answer, DeadEngine)
    assert (answer.trouble, answer.detail) == ("strange", "HTTP status 404")
    with fake_engine(tmp_path, version={"Version": "1"}) as host:
        answer = asked(host)
    assert isinstance(answer, DeadEngine)
    assert answer.detail == "its answer lacks ApiVersion"


def test_a_socket_of_somebody_else_is_forbidden(tmp_path: Path) -> None:
    with silent_socket(tmp_path) as host:
        Path(host.removeprefix("unix://")).chmod(0)
        pid = os.fork()
        if pid == 0:
            answer: object = None
            try:
                if os.getuid() == 0:
                    os.setuid(65534)
                answer = asked(host)
            finally:
                os._exit(0 if isinstance(answer, DeadEngine) and answer.trouble == "forbidden" else 1)
        _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_an_engine_where_evaldock_does_not_look_is_a_note_with_its_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = tmp_path / "r"
    (runtime / "podman").mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with fake_engine(runtime / "podman", version=PODMAN) as host:
        Path(host.removeprefix("unix://")).rename(runtime / "podman" / "podman.sock")
        (runtime / "podman" / "e.sock").touch()
        findings = list(engines.findings(gather(tmp_path, offline=True)))

    finding = named(findings, "engine at podman's socket")
    assert finding.state == "note"
    assert finding.fix == f"export DOCKER_HOST=unix://{runtime}/podman/podman.sock"


def test_an_engine_of_another_machine_is_said_to_mount_its_own_folders() -> None:
    engine = Engine(
        address=Address(url="tcp://gpus.example:2375", source="DOCKER_HOST", tried=True),
        version=Version.model_validate(DOCKER),
        info=Info.model_validate(ENFORCED),
    )

    assert "mounts its own folders" in named(engines.findings(facts_with(engine)), "remote engine").found


def test_a_broken_podman_is_a_lack_with_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_program(tmp_path / "bin", "podman", "echo 'Error: cannot re-exec process' >&2; exit 125")
    only_programs(tmp_path / "bin", monkeypatch)

    finding = named(engines.findings(gather(tmp_path, offline=True)), "podman")

    assert (finding.state, finding.found) == ("lack", "Error: cannot re-exec process")


PODMAN_INFO = """
cat <<'END'
{"host": {"cgroupManager": "systemd", "cgroupVersion": "%s", "cgroupControllers": %s,
          "security": {"rootless": true}, "ociRuntime": {"name": "crun"}, "networkBackend": "netavark"},
 "store": {"graphDriverName": "overlay"}, "version": {"Version": "4.9.4", "APIVersion": "4.9.4"}}
END
"""


@pytest.mark.parametrize(
    ("version", "controllers", "state"),
    [("v1", "null", "lack"), ("v2", '["cpu"]', "lack"), ("v2", '["memory", "pids"]', "ok")],
)
def test_rootless_podman_limits_only_with_delegated_controllers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, controllers: str, state: str
) -> None:
    fake_program(tmp_path / "bin", "podman", PODMAN_INFO % (version, controllers))
    only_programs(tmp_path / "bin", monkeypatch, "cat")

    facts = gather(tmp_path, offline=True)

    assert named(limits.findings(facts), "podman limits").state == state
    assert named(engines.findings(facts), "podman").found.startswith(
        "4.9.4, API 4.9.4, rootless, storage overlay"
    )


def test_slow_storage_of_podman_is_noted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_program(tmp_path / "bin", "podman", (PODMAN_INFO % ("v2", "[]")).replace("overlay", "vfs"))
    only_programs(tmp_path / "bin", monkeypatch, "cat")

    finding = named(engines.findings(gather(tmp_path, offline=True)), "podman")

    assert (finding.state, finding.fix) == ("note", "export STORAGE_DRIVER=overlay")


def test_a_user_without_subordinate_ids_is_told_the_command(tmp_path: Path) -> None:
    files = (tmp_path / "subuid", tmp_path / "subgid")
    files[0].write_text("somebody:100000:65536\n", encoding="utf-8")

    finding = limits.sub_ids(files)

    assert finding.state == "lack"
    assert "subuid and subgid" in finding.found
    assert "usermod --add-subuids" in (finding.fix or "")


def test_shared_memory_is_measured(tmp_path: Path) -> None:
    assert limits.shared_memory().state in {"ok", "note"}
    assert limits.shared_memory(tmp_path / "nothing").state == "lack"


def test_a_podman_that_works_is_what_a_run_takes_where_no_docker_answers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_program(tmp_path / "bin", "podman", PODMAN_INFO % ("v2", '["memory", "pids"]'))
    only_programs(tmp_path / "bin", monkeypatch, "cat")

    facts = Facts(output=tmp_path, podman=gather(tmp_path, offline=True).podman)

    finding = named(engines.findings(facts), "container engine")
    assert (finding.state, finding.found) == ("ok", "podman, for no Docker answers")
