"""JSON Schemas: they agree with the models, and what evaldock writes conforms to its own."""

import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from tests.kit.schemas import conforms, yaml_as_json

from evaldock.schema import SCHEMA_NAMES, document_schema, json_schema
from evaldock.supply.lock import ImagesLock, LockedImage, write_lock
from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.files import SchemaFile, write_yaml
from evaldock_entrypoints.contract.layers import Layer, merge
from evaldock_entrypoints.contract.validation import aliases, canonical, models_in

ROOT = checkout_root()


def _name(path: Path) -> str:
    return path.name


BY_SCHEMA = jsonschema.Draft202012Validator(document_schema())

TEXTS = ("m", "", "7", "yes", "Off", "all", "slurm", "vllm", "chat", "02:00:00", "4g", "MY_KEY", "1e3")
NUMBERS = (0, 1, 2, 3, 8080, 65535, 65536, -1, 0.5, 1.0, 1.5, 2.0, 0.0, -0.5)
# null is drawn for known keys only: under an unknown one it is dropped before the models see it.
SOMETHING: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from((*TEXTS, *NUMBERS, True, False)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=2),
    max_leaves=4,
)
ANYTHING = st.none() | SOMETHING


def fitting(annotation: Any) -> st.SearchStrategy[Any]:
    """Return values that are mostly right for the annotation."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return fitting(inside[0])
    if origin is Literal:
        return st.sampled_from(inside)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([fitting(one) for one in inside])
    if origin is list:
        return st.lists(fitting(inside[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(st.sampled_from(("a", "judge")), fitting(inside[1]), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return tree_of(annotation)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.sampled_from(TEXTS),
        int: st.sampled_from(NUMBERS),
        float: st.sampled_from(NUMBERS),
        bool: st.sampled_from((True, False, "yes", "Off", "oFF")),
        type(None): st.none(),
    }
    return plain.get(annotation, ANYTHING)


@st.composite
def tree_of(draw: st.DrawFn, model: type[BaseModel]) -> dict[str, Any]:
    """Draw a mapping with some of the model's keys, in any of their spellings; now and then a wrong one."""
    tree: dict[str, Any] = {}
    fields = model.model_fields
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        key = draw(st.sampled_from([name, *aliases(name, fields[name])]))
        is_wrong = draw(st.integers(0, 19)) == 0
        tree[key] = draw(ANYTHING if is_wrong else fitting(fields[name].annotation))
    if draw(st.integers(0, 29)) == 0:
        tree[draw(st.sampled_from(("nmae", "Type", "type ", *fields)))] = draw(SOMETHING)
    return tree


def taken_by_the_models(tree: Mapping[str, Any]) -> bool:
    """Tell whether the document is read: spellings, merging, models."""
    try:
        Document.model_validate(merge([canonical(Layer(tree=dict(tree)), Document)]).tree)
    except (UsageError, ValidationError):
        return False
    return True


@settings(max_examples=400)
@given(tree=tree_of(Document))
def test_schema_and_models_take_and_refuse_the_same_documents(tree: dict[str, Any]) -> None:
    is_taken = taken_by_the_models(tree)
    event(f"taken: {is_taken}")
    findings = [f"{error.json_path}: {error.message[:200]}" for error in BY_SCHEMA.iter_errors(tree)]
    assert (not findings) == is_taken, findings


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("evaluation: {tasks: [gsm8k, {name: mmlu, params: {limit_samples: 0.5}}]}", True),
        ("deployment: {tensor_parallel_size: 2, model_path: null}", True),
        ("target: {auxiliary: {judge: null}, api_endpoint: {type: null}}", True),
        ("target: {auxiliary: {judge/2: {url: http://j, model_id: j}}}", False),
        ("execution: {backend: slurm, gpus: [0, 1], allow_code_execution: yes}", True),
        ("evaluation: {params: {extra: {num_fewshot: null, anything: [1]}}}", True),
        ("deployment: {tensor_parallel_size: 2, tensor_parallelism: 2}", False),
        ("evaluation: {tasks: [{params: {seed: 1}}]}", False),
        ("evaluation: {tasks: [{name: null}]}", False),
        ("evaluation: {tasks: ['']}", False),
        ("evaluation: {tasks: gsm8k}", False),
        ("evaluation: {params: {parallelism: 0}}", False),
        ("evaluation: {params: {limit_samples: 1.5}}", False),
        ("deployment: {port: 65536}", False),
        ("execution: {gpus: [0, 0]}", False),
        ("exection: {}", False),
    ],
)
def test_documents_that_must_be_taken_or_refused_are(text: str, is_right: bool) -> None:
    tree = yaml.safe_load(text)
    assert taken_by_the_models(tree) is is_right
    assert BY_SCHEMA.is_valid(tree) is is_right


def test_every_spelling_of_every_key_is_known_to_the_schema() -> None:
    schema = document_schema()
    pending: list[tuple[type[BaseModel], Mapping[str, Any]]] = [(Document, schema)]
    seen: set[type[BaseModel]] = set()
    while pending:
        model, tree = pending.pop()
        for name, info in model.model_fields.items():
            for spelling in (name, *aliases(name, info)):
                assert "description" in tree["properties"][spelling], f"{model.__name__}.{spelling}"
            new = [found for found in models_in(info.annotation) if found not in seen]
            seen.update(new)
            pending += [(found, schema["$defs"][found.__name__]) for found in new]


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_a_schema_is_one(name: str) -> None:
    schema = json_schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=_name)
def test_examples_conform(path: Path) -> None:
    assert [error.message for error in BY_SCHEMA.iter_errors(yaml_as_json(path))] == []


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "registry.yaml"], ids=_name
)
def test_editors_find_the_schema_of_what_people_write(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).is_file()


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("framework", "harnesses/*/framework.yml"),
        ("framework", "tests/fixtures/*/framework.yml"),
        ("backend", "images/*/backend.yml"),
        ("registry", "registry.yaml"),
    ],
)
def test_files_of_the_repository_conform(name: str, pattern: str) -> None:
    paths = list(ROOT.glob(pattern))
    assert paths
    for path in paths:
        jsonschema.validate(yaml_as_json(path), json_schema(name))


def test_images_lock_conforms_to_the_schema_beside_it(tmp_path: Path) -> None:
    digest = "sha256:" + "a" * 64
    image = LockedImage(
        name="x",
        kind="harness",
        version="1",
        digest=digest,
        image_id=digest,
        size_bytes=1,
        input_hash=digest,
    )
    write_lock(ImagesLock(images={"x": image}), tmp_path / "images.lock")
    assert conforms(tmp_path / "images.lock") == "images-lock.v1.json"


def test_a_schema_is_not_written_through_a_link(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    folder.mkdir()
    (folder / ".schema").symlink_to(outside)
    write_yaml(folder / "a.yml", {}, schema=SchemaFile(name="a.v1", tree={"type": "object"}))
    assert list(outside.iterdir()) == []
    assert conforms(folder / "a.yml") == "a.v1.json"
