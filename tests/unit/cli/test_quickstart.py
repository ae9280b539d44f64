import os
from pathlib import Path

from tests.kit.cli import Ended, evaldock

from evaldock.cli.quickstart import MODEL
from evaldock.supply.models import MODELS


def quickstart(folder: Path, *argv: str) -> Ended:
    """Run it where the model is at hand, no program is, and no Docker engine answers."""
    (folder / "bin").mkdir()
    model = folder / "cache/evaldock/models" / Path(MODELS[MODEL].member).name
    model.parent.mkdir(parents=True)
    model.touch()
    os.truncate(model, MODELS[MODEL].size_bytes)
    places = {"PATH": "bin", "XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config"}
    env = {name: str(folder / below) for name, below in places.items()}
    return evaldock(
        "quickstart", *argv, cwd=folder, env={**env, "DOCKER_HOST": f"unix://{folder}/nobody.sock"}
    )


def test_docker_is_not_wanted_where_podman_is_asked_for(tmp_path: Path) -> None:
    ended = quickstart(tmp_path, "--engine", "podman")
    assert ended.code == 2
    assert "this machine lacks buildah" in ended.err


def test_without_an_engine_of_choice_it_is_docker_that_must_answer(tmp_path: Path) -> None:
    ended = quickstart(tmp_path)
    assert ended.code == 7
    assert "no container engine answers at DOCKER_HOST" in ended.err


def test_a_folder_of_results_may_have_any_name(tmp_path: Path) -> None:
    ended = quickstart(tmp_path, "--engine", "podman", "--output-dir", "2031")
    assert "this machine lacks buildah" in ended.err
