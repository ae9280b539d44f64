"""registry.yaml, its models and what a site lays over it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from evaldock.catalogue_file import FILE_VARIABLE, catalogued_tasks, registry_path
from evaldock.registry import Registry, load_registry, without_tag
from evaldock.supply.paths import checkout_root
from evaldock.supply.registry_file import registry_text
from evaldock_entrypoints.contract.errors import PinError, UsageError

DIGEST = "sha256:" + "a" * 64
NAMES = st.text(alphabet="abc-_./", min_size=1, max_size=4)


def harness(name: str, *aliases: str) -> dict[str, Any]:
    """Return a catalogue's entry of a harness with the one task "sums"."""
    about = {"name": name, "version": "1", "description": "adds", "source": "x", "license": "MIT"}
    task = {"name": "sums", "description": "adds", "endpoint_types": ["chat"]}
    return {
        "repository": f"evaldock/{name}",
        "aliases": list(aliases),
        "version": "1",
        "description": "adds",
        "lock_sha256": "",
        "definition": {"framework": about, "phases": [], "tasks": [task]},
    }


def backend(name: str, *aliases: str) -> dict[str, Any]:
    """Return a catalogue's entry of a backend."""
    entry = {key: value for key, value in harness(name, *aliases).items() if key != "definition"}
    return {**entry, "endpoint_types": ["chat"], "formats": ["gguf"]}


def written(path: Path, tree: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def test_registry_yaml_is_what_the_folders_say() -> None:
    assert registry_path().read_text(encoding="utf-8") == registry_text(checkout_root()), (
        "run `make generate`"
    )


def test_every_task_says_what_a_user_must_know() -> None:
    for harness, task in load_registry().tasks:
        name = f"{harness}.{task.name}"
        assert task.description, name
        assert task.primary_metric, name
        assert all(source.license for source in task.data), name
        assert task.data or task.note, name  # what is asked, or where it comes from


LICENSES = re.compile(r"\b(MIT|Apache-2\.0|BSD|CC0|CC BY)\b")
HEAVY = re.compile(r"^(torch|tensorflow|jax|nvidia-cu\w+|vllm)==", re.MULTILINE)


@pytest.mark.parametrize("name", load_registry().harnesses)
def test_every_harness_is_documented_tested_and_light(name: str) -> None:
    folder = checkout_root() / "harnesses" / name
    assert (folder / "README.md").is_file()
    assert LICENSES.search((folder / "README.md").read_text(encoding="utf-8"))
    assert list(folder.glob("test_*.py"))
    assert HEAVY.findall((folder / "requirements.lock").read_text(encoding="utf-8")) == []


def test_every_image_has_the_fields_of_the_contract() -> None:
    tree = yaml.safe_load(registry_path().read_text(encoding="utf-8"))
    for kind, section in (("harness", tree["harnesses"]), ("backend", tree["backends"])):
        for name, entry in section.items():
            assert entry["kind"] == kind, name
            assert {"repository", "aliases", "version", "lock_sha256", "published"} <= set(entry), name


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("lm-eval", "lm-eval"),
        ("lm_eval", "lm-eval"),
        ("LM_Eval", "lm-eval"),
        ("lm-evaluation-harness", "lm-eval"),
        ("eval-factory/lm-evaluation-harness", "lm-eval"),
        ("vendor.example/org/eval-factory/lm-evaluation-harness:25.11", "lm-eval"),
        ("vendor.example:5000/eval-factory/lm-evaluation-harness", "lm-eval"),
        ("EleutherAI/lm-evaluation-harness", "lm-eval"),
        ("llama.cpp", "llamacpp"),
        ("site.example/lm-evaluation-harness:mine", None),  # an alias of one component is no vendor's
        ("site.example/eval-factory-lm-evaluation-harness", None),
        (f"eval-factory/lm-evaluation-harness@{DIGEST}", None),  # what is named by digest is that
        ("lm-eval:1", None),
        ("lm-evil", None),
    ],
)
def test_names_aliases_and_vendor_references_mean_one_image(called: str, name: str | None) -> None:
    assert load_registry().image_name(called) == name


def test_aliases_work_before_task_names() -> None:
    registry = load_registry()
    for prefix in ("lm-eval", "lm_eval", "lm-evaluation-harness", "eval-factory/lm-evaluation-harness"):
        assert registry.find_task(f"{prefix}.gsm8k")[0] == "lm-eval"
    with pytest.raises(UsageError, match="no harness has the task"):
        registry.find_task("lm_eval.no_such_task")
    for wrong, said in (("gsm8kk", 'did you mean "gsm8k" or "gsm8k_cot"'), ("xyzzy", "evaldock ls tasks")):
        with pytest.raises(UsageError) as refused:
            registry.find_task(wrong)
        assert said in (refused.value.next_step or "")


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=3)), max_size=4, unique_by=lambda pair: pair[0]))
def test_an_alias_is_unique_and_shadows_no_name(entries: list[tuple[str, list[str]]]) -> None:
    called = [word for name, aliases in entries for word in (name, *aliases)]
    half = len(entries) // 2
    tree = {
        "harnesses": {name: harness(name, *aliases) for name, aliases in entries[:half]},
        "backends": {name: backend(name, *aliases) for name, aliases in entries[half:]},
    }
    well_formed = all(alias[0] in "abc" for _, aliases in entries for alias in aliases)
    if len(set(called)) < len(called) or not well_formed:
        with pytest.raises(ValueError, match=r"means two images|pattern"):
            Registry.model_validate(tree)
        return
    registry = Registry.model_validate(tree)
    for name, aliases in entries:
        assert all(registry.image_name(word) == name for word in (name, *aliases))


@pytest.mark.parametrize("alias", ["base", "entrypoints"])
def test_an_alias_does_not_shadow_what_images_are_built_on(alias: str) -> None:
    with pytest.raises(ValueError, match="means two images"):
        Registry.model_validate({"harnesses": {"toy": harness("toy", alias)}})


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("evaldock/lm-eval", "evaldock/lm-eval"),
        ("evaldock/lm-eval:1", "evaldock/lm-eval"),
        ("host:5000/evaldock/lm-eval", "host:5000/evaldock/lm-eval"),
        ("host:5000/evaldock/lm-eval:1", "host:5000/evaldock/lm-eval"),
        (f"host:5000/lm-eval:1@{DIGEST}", "host:5000/lm-eval"),
    ],
)
def test_a_port_is_no_tag(reference: str, repository: str) -> None:
    assert without_tag(reference) == repository


def test_the_chosen_file_is_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "other.yaml", {"harnesses": {"toy": harness("toy")}})
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    assert list(load_registry().images) == ["toy"]
    assert [row.name for row in catalogued_tasks()] == ["toy.sums"]
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="No such file") as caught:
        load_registry()
    assert caught.value.where == str(tmp_path / "none.yaml")


def test_the_quick_list_of_tasks_is_that_of_the_models() -> None:
    rows = [(row.harness, row.task, row.endpoint_types, row.capabilities) for row in catalogued_tasks()]
    assert rows == [
        (name, task.name, task.endpoint_types, task.capabilities) for name, task in load_registry().tasks
    ]


@pytest.mark.parametrize("text", ["harnesses: [", "harnesses: {toy: {definition: 3}}", "- a", "tasks: {}"])
def test_a_malformed_catalogue_is_a_pin_error_that_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(text, encoding="utf-8")
    for read in (load_registry, catalogued_tasks):
        with pytest.raises(PinError) as caught:
            read(path)
        assert (caught.value.where or "").startswith(str(path))
        assert caught.value.next_step
        assert "pydantic" not in caught.value.render()


def test_a_site_lies_over_the_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    catalogue = written(
        tmp_path / "catalogue.yaml",
        {
            "mirrors": [{"from": "evaldock", "to": "general.example/evaldock"}],
            "harnesses": {"one": harness("one", "eins"), "two": harness("two")},
            "default_harness": {"sums": "two"},
        },
    )
    written(
        tmp_path / "evaldock" / "registry.yaml",
        {
            "mirrors": [{"from": "evaldock", "to": "site.example/evaldock"}],
            "default_harness": {"sums": "eins"},
            "digests": {"eins": {"linux/amd64": DIGEST}},
        },
    )
    registry = load_registry(catalogue)
    assert [mirror.to_prefix for mirror in registry.mirrors] == [
        "site.example/evaldock",
        "general.example/evaldock",
    ]
    assert registry.find_task("sums")[0] == "one"
    assert registry.harnesses["one"].published["linux/amd64"].digest == DIGEST
    assert registry.harnesses["two"].published == {}


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        (["mirrors"], "not a mapping"),
        ({"mirror": []}, "mirror"),
        ({"mirrors": [{"from": "a b", "to": "c"}]}, "mirrors[0].from"),
        ({"mirrors": [{"from": "https://a", "to": "c", "via": "d"}]}, "via"),
        ({"digests": {"none": {"linux/amd64": DIGEST}}}, '"none", which is no image'),
        ({"digests": {"one": {"linux/amd64": "latest"}}}, "digests.one.linux/amd64"),
        ({"default_harness": {"sums": "none"}}, '"none", which is no harness'),
    ],
)
def test_a_site_file_that_says_nonsense_is_a_pin_error_that_names_it(
    tmp_path: Path, tree: object, says: str
) -> None:
    catalogue = written(tmp_path / "catalogue.yaml", {"harnesses": {"one": harness("one")}})
    site = written(tmp_path / "registry.yaml", tree)
    with pytest.raises(PinError) as caught:
        load_registry(catalogue, site)
    assert says in caught.value.message
    assert (caught.value.where or "").startswith(str(site))
    assert caught.value.next_step
    assert "pydantic" not in caught.value.render()


def test_a_misspelt_key_of_a_site_file_is_named_with_its_line_and_the_nearest_one(tmp_path: Path) -> None:
    catalogue = written(tmp_path / "catalogue.yaml", {"harnesses": {"one": harness("one")}})
    site = tmp_path / "registry.yaml"
    site.write_text("# ours\nmirrors: []\ndigest: {}\n", encoding="utf-8")
    with pytest.raises(PinError) as caught:
        load_registry(catalogue, site)
    assert caught.value.where == f"{site}:3  digest"
    assert caught.value.next_step == 'did you mean "digests"?'


def test_a_site_file_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    catalogue = written(tmp_path / "catalogue.yaml", {"harnesses": {"one": harness("one")}})
    with pytest.raises(UsageError, match="Is a directory"):
        load_registry(catalogue, tmp_path)
