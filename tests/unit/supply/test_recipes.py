"""Recipes found by folder, and their input hashes."""

import shutil
import time
from pathlib import Path

import pytest

from evaldock.supply.paths import checkout_root
from evaldock.supply.recipes import Cookbook, input_hashes, tools_hash
from evaldock_entrypoints.contract.errors import UsageError

FRAMEWORK = """
framework: {name: tiny, version: "1.0", description: a tiny one, source: "https://example.org", license: MIT}
phases: [{name: ask, argv: [python]}]
tasks: [{name: sums, description: adds, endpoint_types: [chat]}]
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the real images/ and one throw-away harness."""
    root = checkout_root()
    shutil.copytree(root / "images", tmp_path / "images")
    shutil.copytree(root / "entrypoints", tmp_path / "entrypoints")
    harness = tmp_path / "harnesses" / "tiny"
    harness.mkdir(parents=True)
    (harness / "framework.yml").write_text(FRAMEWORK, encoding="utf-8")
    for name in ("requirements.lock", "results.py", "data.py", "test_tiny.py"):
        (harness / name).write_text(f"# {name}\n", encoding="utf-8")
    return tmp_path


def hashes(root: Path, base: str | None = None) -> dict[str, str]:
    cookbook = Cookbook(root=root, base=base)
    return input_hashes(cookbook.with_parents(cookbook.names()), tools_hash(root))


def changed(root: Path, before: dict[str, str]) -> set[str]:
    return {name for name, value in hashes(root).items() if before[name] != value}


def test_images_are_found_by_folder_parents_first(checkout: Path) -> None:
    assert Cookbook(root=checkout).names() == ["base", "entrypoints", "llamacpp", "tiny"]


def test_harness_file_changes_that_harness_only(checkout: Path) -> None:
    before = hashes(checkout)

    (checkout / "harnesses/tiny/results.py").write_text("# other\n", encoding="utf-8")

    assert changed(checkout, before) == {"tiny"}


def test_test_files_caches_and_times_change_nothing(checkout: Path) -> None:
    before = hashes(checkout)

    (checkout / "harnesses/tiny/test_tiny.py").write_text("# other\n", encoding="utf-8")
    (checkout / "harnesses/tiny/__pycache__").mkdir()
    (checkout / "harnesses/tiny/__pycache__/results.pyc").write_bytes(b"x")
    (checkout / "harnesses/tiny/results.py").touch()

    assert changed(checkout, before) == set()


def test_entrypoints_source_changes_everything_but_the_base(checkout: Path) -> None:
    before = hashes(checkout)

    (checkout / "entrypoints/evaldock_entrypoints/new.py").write_text("", encoding="utf-8")

    assert changed(checkout, before) == {"entrypoints", "llamacpp", "tiny"}


def test_base_file_changes_everything(checkout: Path) -> None:
    before = hashes(checkout)

    (checkout / "images/base/packages.txt").write_text("tini\n", encoding="utf-8")

    assert changed(checkout, before) == set(before)


def test_public_base_changes_everything(checkout: Path) -> None:
    before = hashes(checkout)
    other = hashes(checkout, base="registry.example/debian@sha256:" + "b" * 64)

    assert not set(before.values()) & set(other.values())


def test_data_recipe_is_staged_apart_from_what_runs(checkout: Path) -> None:
    files = set(Cookbook(root=checkout).recipe("tiny").files)

    assert {
        "Dockerfile",
        "requirements.lock",
        "data/data.py",
        "files/results.py",
        "files/framework.yml",
    } <= files
    assert "data/results.py" not in files
    assert "files/test_tiny.py" not in files


def test_harness_label_names_its_tasks(checkout: Path) -> None:
    labels = Cookbook(root=checkout).recipe("tiny").labels

    assert '"name":"sums"' in labels["io.evaldock.harness"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_unknown_image_names_the_known_ones(checkout: Path) -> None:
    with pytest.raises(UsageError) as caught:
        Cookbook(root=checkout).recipe("tinny")

    assert "tiny" in (caught.value.next_step or "")


def test_harness_without_lock_file_is_refused(checkout: Path) -> None:
    (checkout / "harnesses/tiny/requirements.lock").unlink()

    with pytest.raises(UsageError, match="no lock file"):
        Cookbook(root=checkout).recipe("tiny")


def test_finding_out_that_nothing_changed_takes_less_than_a_second(checkout: Path) -> None:
    started_s = time.process_time()

    hashes(checkout)

    assert time.process_time() - started_s < 1.0
