import json
from pathlib import Path

from tests.kit.cli import evaldock
from tests.kit.fake_engine import fake_engine
from tests.kit.programs import fake_program

INFO = {"host": {"security": {"rootless": False}}, "version": {"Version": "4.3.1"}}
LEFT = [
    {"Id": "f00", "Names": ["evaldock-KILLED-server"], "Labels": {"io.evaldock.owner": "{host}:boot:1:1"}}
]
PODMAN = """
case "$*" in
  *info*) echo '{info}' ;;
  *"ps --all"*) echo "{left}" | sed "s/{{host}}/$(uname -n)/" ;;
  *"network ls"*) echo '[]' ;;
  *"rm "*) echo "$*" >> {log} ;;
esac
"""


def test_what_a_killed_run_left_in_podman_is_removed_too(tmp_path: Path) -> None:
    left = json.dumps(LEFT).replace('"', '\\"')
    script = PODMAN.format(info=json.dumps(INFO), left=left, log=tmp_path / "log")
    fake_program(tmp_path / "bin", "podman", script)
    answers: dict[str, object] = {"containers/json": [], "networks": []}
    with fake_engine(tmp_path, answers=answers) as host:
        ended = evaldock(
            "clean",
            "--json",
            cwd=tmp_path,
            env={
                "DOCKER_HOST": host,
                "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
                "XDG_CACHE_HOME": str(tmp_path / "cache"),
            },
        )
    assert (ended.code, ended.json) == (0, ["removed evaldock-KILLED-server"]), ended.err
    assert (tmp_path / "log").read_text(encoding="utf-8").split()[-1] == "f00"


def test_an_engine_that_refuses_is_an_error_of_the_engine(tmp_path: Path) -> None:
    with fake_engine(tmp_path) as host:
        ended = evaldock("clean", cwd=tmp_path, env={"DOCKER_HOST": host, "XDG_CACHE_HOME": str(tmp_path)})
    assert ended.code == 7
    assert "the container engine fails" in ended.err
