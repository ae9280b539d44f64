import csv
import json
import resource
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.plans import made_up_pin

from evaldock.engines.engine import bounded
from evaldock.engines.podman import PodmanEngine
from evaldock.engines.podman_api import is_podman
from evaldock.engines.podman_command import PodmanCommand, find_podman
from evaldock.engines.podman_options import cdi_names, create_options
from evaldock.engines.podman_seccomp import narrowed
from evaldock.plan import SCORING_LIMITS, Limits, Mount, Role, Unit
from evaldock_entrypoints.contract.errors import ExecutionError
from evaldock_entrypoints.contract.fields import Gpus


def unit(*, role: Role = "evaluation", limits: Limits | None = None, **fields: Any) -> Unit:
    return Unit(
        name="probe",
        role=role,
        image=made_up_pin("x"),
        argv=("true",),
        network="none",
        limits=limits or Limits(),
        **fields,
    )


def options(what: Unit) -> list[str]:
    return create_options(what, user="7:8", labels={"a": "b"})


@pytest.mark.parametrize(
    ("role", "limits", "bound"),
    [
        ("evaluation", Limits(), "8192m"),
        ("evaluation", Limits(memory="16g"), "16g"),
        ("scoring", SCORING_LIMITS, SCORING_LIMITS.memory),
        ("server", Limits(), None),
    ],
)
def test_a_harness_without_a_limit_leaves_a_fifth_of_the_machine_to_others(
    role: Role, limits: Limits, bound: str | None
) -> None:
    assert bounded(unit(role=role, limits=limits), 10 * 1024**3).limits.memory == bound


def test_a_harness_on_an_engine_that_does_not_tell_its_memory_is_not_bound() -> None:
    assert bounded(unit(), 0).limits.memory is None


def test_every_container_is_hardened_as_under_docker() -> None:
    made = options(unit(role="scoring", limits=SCORING_LIMITS))
    assert {
        "--user=7:8",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--read-only",
        "--read-only-tmpfs=false",
        "--tmpfs=/tmp:rw,nosuid,nodev,noexec,size=128m,mode=1777",
        "--pids-limit=128",
        "--memory=1g",
        "--memory-swap=1g",
        "--ulimit=nofile=256:256",
        "--ulimit=fsize=67108864:67108864",
        "--ulimit=core=0:0",
        "--ipc=none",
        "--http-proxy=false",
    } <= set(made)


def test_open_files_are_never_asked_above_what_this_process_may_give() -> None:
    _, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert f"--ulimit=nofile={highest}:{highest}" in options(unit())


def test_podmans_seccomp_profile_is_narrowed_and_otherwise_kept() -> None:
    rules = [
        {"names": ["clone", "clone3", "read", "unshare"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["unshare"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    ]
    made = narrowed({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})
    assert made["defaultAction"] == "SCMP_ACT_ERRNO"
    assert made["syscalls"][0] == {"names": ["read"], "action": "SCMP_ACT_ALLOW"}
    ways = {rule["names"][0]: (rule["action"], rule.get("args")) for rule in made["syscalls"][1:]}
    assert ways["unshare"] == ("SCMP_ACT_ERRNO", None)
    assert ways["clone3"] == ("SCMP_ACT_ERRNO", None)
    (masked,) = ways["clone"][1]
    new_user, threads = 0x10000000, 0x003D0F00  # CLONE_NEWUSER; what pthread_create(3) gives
    assert masked["value"] & new_user
    assert not masked["value"] & threads


paths = st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"]), min_size=1)


@given(source=paths, read_only=st.booleans())
def test_paths_with_commas_quotes_and_colons_are_mounted_as_they_are(source: str, read_only: bool) -> None:
    mount = Mount(source=f"/{source}", target="/in", read_only=read_only)
    (made,) = [part for part in options(unit(mounts=(mount,))) if part.startswith("--mount=")]
    (fields,) = csv.reader([made.removeprefix("--mount=")])
    assert fields == ["type=bind", f"source=/{source}", "target=/in", *(["readonly"] if read_only else [])]


@pytest.mark.parametrize(
    ("gpus", "names"),
    [("none", []), (0, []), ([], []), ("all", ["all"]), (2, ["0", "1"]), ([1, 3], ["1", "3"])],
)
def test_gpus_become_cdi_devices(gpus: Gpus, names: list[str]) -> None:
    assert cdi_names(gpus) == [f"nvidia.com/gpu={name}" for name in names]
    assert [part for part in options(unit(gpus=gpus)) if part.startswith("--device")] == [
        f"--device=nvidia.com/gpu={name}" for name in names
    ]


INFO: dict[str, Any] = {
    "host": {
        "cgroupVersion": "v2",
        "cgroupControllers": ["cpu", "memory", "pids"],
        "ociRuntime": {"name": "crun"},
        "security": {"rootless": False},
        "serviceIsRemote": False,
    },
    "version": {"Version": "4.9.3"},
}


def podman_that_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, version: str = "4.9.3", **host: Any
) -> PodmanCommand:
    """A program in podman's place, for states that this machine's own is not in."""
    info = INFO | {"host": INFO["host"] | host, "version": {"Version": version}}
    program = folder / "podman"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(info)}\nEND\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return find_podman()


def test_no_podman_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutionError, match="no podman") as caught:
        find_podman()
    assert "apt-get install --no-install-recommends podman" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("host", "version", "words"),
    [({"serviceIsRemote": True}, "4.9.3", "elsewhere"), ({}, "3.4.4", "too old"), ({}, "unknown", "too old")],
)
def test_an_unfit_podman_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: dict[str, Any], version: str, words: str
) -> None:
    with pytest.raises(ExecutionError, match=words):
        podman_that_says(tmp_path, monkeypatch, version=version, **host)


@pytest.mark.parametrize(
    ("host", "binding"),
    [
        ({}, True),
        ({"security": {"rootless": True}}, True),
        ({"security": {"rootless": True}, "cgroupControllers": ["cpu"]}, False),
        ({"security": {"rootless": True}, "cgroupVersion": "v1"}, False),
        ({"cgroupVersion": "v1"}, True),
    ],
)
def test_limits_that_podman_would_drop_are_refused_where_they_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: dict[str, Any], binding: bool
) -> None:
    podman = podman_that_says(tmp_path, monkeypatch, **host)
    assert podman.enforces_limits is binding
    if binding:
        return
    with PodmanEngine(podman, "run") as engine:
        for what in (unit(role="scoring", limits=SCORING_LIMITS), unit(limits=Limits(memory="1g"))):
            with pytest.raises(ExecutionError, match="does not enforce the limits"):
                engine.create(what, user="1:1", network=None, alias=None, secrets={})


def test_podmans_docker_api_is_known_by_its_components() -> None:
    assert is_podman([{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon"}])
    assert not is_podman([{"Name": "Engine", "Version": "20.10.24"}, {"Name": "containerd"}])
