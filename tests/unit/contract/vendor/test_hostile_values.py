"""Nothing that a shell interprets gets into a vendor's command."""

import string
import subprocess

import pytest

from evaldock_entrypoints.contract.errors import HarnessError, UsageError
from evaldock_entrypoints.contract.vendor.command import NotSetError, refuse_unsafe, render_command
from evaldock_entrypoints.contract.vendor.safe import is_safe, is_safe_argument

HOSTILE = [
    *('a"b', "a'b", "a b", "$HOME", "$(id)", "`id`", "a;id", "a|id", "a&id", "a>b", "a<b", "a\nb", "a\rb"),
    *(
        "a\tb",
        "*",
        "?",
        "[a]",
        "{a,b}",
        "(a)",
        "#a",
        "!a",
        "~",
        "a\\b",
        "",
        "ä",
        "a\u00a0b",
        "a\u2028b",
        "\0",
    ),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_that_a_shell_interprets_is_refused_by_its_key(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse_unsafe({"target": {"api_endpoint": {"model_id": value}}}, is_safe_argument, {})
    assert caught.value.where == "target.api_endpoint.model_id"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_that_escaped_the_check_by_key_is_refused_where_it_is_put_in(value: str) -> None:
    with pytest.raises(UsageError):
        render_command("run {{ config.x }}", {"config": {"x": value}}, set())


@pytest.mark.parametrize("value", ["-rf", "--model", "../../etc", "/a/../b", "-"])
def test_options_and_ways_out_of_a_folder_are_no_arguments(value: str) -> None:
    assert is_safe(value)
    assert not is_safe_argument(value)


@pytest.mark.parametrize("value", [["a"], {"a": 1}, ("a",), b"a", object()])
def test_only_numbers_truth_values_and_words_are_safe(value: object) -> None:
    assert not is_safe(value)


@pytest.mark.parametrize("character", sorted(string.printable))
def test_a_shell_hands_on_every_safe_character_as_it_is(character: str) -> None:
    word = f"a{character}b"
    if is_safe(word):
        script = f"printf %s {word} {character}a"
        done = subprocess.run(["/bin/sh", "-euc", script], capture_output=True, check=True)
        assert done.stdout.decode() == f"{word}{character}a"
    else:
        assert character not in string.ascii_letters + string.digits + "_./:@%+=,-"


def test_the_vendor_s_own_text_may_be_what_it_is() -> None:
    context = {"config": {"args": "--trust_remote_code --add_instruction"}}
    assert render_command("x {{ config.args }}", context, {"--trust_remote_code --add_instruction"}) == (
        "x --trust_remote_code --add_instruction"
    )


def test_what_a_filter_makes_of_a_safe_value_is_checked_too() -> None:
    with pytest.raises(UsageError, match="a shell would interpret"):
        render_command("echo '{{ config.x | tojson }}'", {"config": {"x": "word"}}, set())


def test_a_null_is_refused_and_not_written_as_none() -> None:
    with pytest.raises(NotSetError, match="not set"):
        render_command("--temperature {{ config.t }}", {"config": {"t": None}}, set())


def test_a_key_that_is_not_there_is_refused() -> None:
    with pytest.raises(NotSetError, match="'shots'"):
        render_command("{{ config.shots }}", {"config": {}}, set())


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ config.__init__.__globals__ }}",
        "{% for i in range(100000000) %}x{% endfor %}",
        "{{ config.update({'a': 1}) }}",
        "{% include '/etc/passwd' %}",
        "{% if %}",
    ],
)
def test_a_template_that_is_more_than_a_template_is_refused(template: str) -> None:
    with pytest.raises((HarnessError, UsageError)):
        render_command(template, {"config": {}}, set())
