"""A key on the command line: warned about, moved to a variable, and nowhere else."""

import pytest

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.layers import Layer
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import parse_yaml
from evaldock_entrypoints.contract.reading import Read, read
from evaldock_entrypoints.contract.secrets import refuse_secrets

NO_FLAGS = Layer(tree={}, name="flag")
KEY = "sk-canary-7f3a"


def given(text: str, *overrides: str) -> Read:
    return read([parse_yaml(text, "f")], flags=NO_FLAGS, overrides=override_layer(overrides), environ={})


def test_a_key_goes_on_as_the_variable_that_the_document_names() -> None:
    found = given("target: {api_endpoint: {api_key_name: MY_KEY}}", f"target.api_endpoint.api_key={KEY}")
    assert found.keys == {"MY_KEY": KEY}
    assert found.merged.tree == {"target": {"api_endpoint": {"api_key_name": "MY_KEY"}}}
    assert KEY not in repr(found.merged) + "".join(found.notes)
    assert "export MY_KEY" in found.notes[0]


def test_a_key_without_a_named_variable_gets_one_of_ours() -> None:
    found = given("{}", f"target.api_endpoint.api_key={KEY}")
    assert found.keys == {"EVALDOCK_API_KEY": KEY}


def test_the_keys_of_two_endpoints_do_not_share_a_variable_unless_they_are_one_key() -> None:
    found = given("{}", f"target.api_endpoint.api_key={KEY}", "target.auxiliary.judge.api_key=other")
    names = (
        found.merged.tree["target"]["api_endpoint"]["api_key_name"],
        found.merged.tree["target"]["auxiliary"]["judge"]["api_key_name"],
    )
    assert [found.keys[name] for name in names] == [KEY, "other"]


@pytest.mark.parametrize("text", ["$MY_KEY", "${MY_KEY}"])
def test_a_variable_that_the_shell_left_alone_is_taken_as_its_name(text: str) -> None:
    found = given("{}", f"target.api_endpoint.api_key={text}")
    assert found.keys == {}
    assert found.merged.tree["target"]["api_endpoint"]["api_key_name"] == "MY_KEY"


def test_an_empty_key_is_refused() -> None:
    with pytest.raises(UsageError, match="the key is empty"):
        given("{}", "target.api_endpoint.api_key=")


@pytest.mark.parametrize(
    "key", ["sk-canary-7f3a", "hf_canarycanarycanarycanary", "Canary1Canary2Canary3", "a b"]
)
@pytest.mark.parametrize(
    "text",
    [
        "target: {api_endpoint: {api_key_name: KEY}}",
        "target: {auxiliary: {judge: {api_key_name: KEY}}}",
        "data: {hf_token_name: KEY}",
    ],
)
def test_a_key_in_the_place_of_a_variables_name_is_refused_and_not_shown(text: str, key: str) -> None:
    found = given(text.replace("KEY", key))
    with pytest.raises(UsageError, match="not the name of a variable") as raised:
        refuse_secrets(found.merged)
    assert key not in raised.value.render()
    assert "f:1  " in raised.value.render()


@pytest.mark.parametrize("name", ["MY_KEY", "hf_token", "OpenAIKey2", "HF_TOKEN_OF_EVALUATIONS_AND_MORE"])
def test_ordinary_names_of_variables_are_taken(name: str) -> None:
    refuse_secrets(given(f"target: {{api_endpoint: {{api_key_name: {name}}}}}").merged)
