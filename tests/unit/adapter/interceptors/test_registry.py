"""From names to interceptors: built-in ones, and those of users."""

import importlib
import sys
from pathlib import Path

import pytest

from evaldock_entrypoints.adapter.interceptor import Context, Interceptor
from evaldock_entrypoints.adapter.interceptors.reasoning import Reasoning
from evaldock_entrypoints.adapter.registry import CLASSES, build
from evaldock_entrypoints.contract import target
from evaldock_entrypoints.contract.built_in_interceptors import BUILT_IN
from evaldock_entrypoints.contract.errors import UsageError

OWN = """
from evaldock_entrypoints.adapter.interceptor import Interceptor
from evaldock_entrypoints.contract.fields import Strict

class Settings(Strict):
    prefix: str

class Shout(Interceptor[Settings]):
    Config = Settings

class Broken(Interceptor):
    def __init__(self, config, context):
        raise RuntimeError("no")

class Loose(Interceptor):
    Config = dict

def function(): ...
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(task="toy.sums", role=None, logs=tmp_path, stop_task=lambda _: None)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of a user's with an interceptor and an entry point."""
    (tmp_path / "own_steps.py").write_text(OWN, encoding="utf-8")
    folder = tmp_path / "own_steps-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: own-steps\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[evaldock.interceptors]\nshout = own_steps:Shout\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "own_steps", raising=False)


def step(name: str, **config: object) -> target.Interceptor:
    return target.Interceptor(name=name, config=config)


def test_every_built_in_one_is_there_with_the_settings_of_the_contract(context: Context) -> None:
    needed: dict[str, dict[str, object]] = {
        "system_message": {"system_message": "x"},
        "drop_params": {"params": ["x"]},
        "payload_modifier": {"params_to_remove": ["x"]},
        "turn_counter": {"max_turns": 1},
    }
    assert CLASSES.keys() == BUILT_IN.keys()
    for name, known in BUILT_IN.items():
        found = build(step(name, **needed.get(name, {})), context)
        assert isinstance(found, Interceptor)
        assert isinstance(found.config, known.settings), name


def test_settings_reach_the_interceptor(context: Context) -> None:
    found = build(step("reasoning", end_reasoning_token="</r>"), context)
    assert isinstance(found, Reasoning)
    assert found.config.end_reasoning_token == "</r>"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["shout", "own_steps:Shout"])
def test_a_users_own_is_found_by_entry_point_and_by_module_and_class(name: str, context: Context) -> None:
    found = build(step(name, prefix="!"), context)
    assert type(found).__name__ == "Shout"
    assert found.config.prefix == "!"


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("own_steps:Shout", {}, "prefix: field required"),
        ("own_steps:Shout", {"prefix": "!", "x": 1}, 'unknown key "x"'),
        ("own_steps:Missing", {}, "AttributeError"),
        ("no_such_module:Class", {}, "ModuleNotFoundError"),
        ("own_steps:function", {}, "is no sub-class of"),
        ("own_steps:Settings", {}, "is no sub-class of"),
        ("own_steps:Loose", {}, "its Config is"),
        ("own_steps:Broken", {}, "cannot be made: RuntimeError: no"),
        ("shuot", {}, "unknown interceptor"),
        ("reasoning", {"start": "x"}, 'unknown key "start"'),
    ],
)
def test_what_cannot_be_made_is_a_usage_error_with_the_reason(
    name: str, config: dict[str, object], message: str, context: Context
) -> None:
    with pytest.raises(UsageError) as caught:
        build(step(name, **config), context)
    assert message in caught.value.message
    assert name in caught.value.message
