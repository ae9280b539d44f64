"""YAML as version 1.2 reads it, bounded in time and memory, every value with its line."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.reader import load_yaml, parse_yaml

MEMORY_BYTES = 100 * 1024**2
LIMIT_S = 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("1e3", 1000.0),
        ("1e-7", 1e-7),
        ("5.", 5.0),
        (".5", 0.5),
        ("010", "010"),
        ("0o17", 15),
        ("0x1F", 31),
        ("0", 0),
        ("-3", -3),
        ("1_000", "1_000"),
        ("02:00:00", "02:00:00"),
        ("1:30", "1:30"),
        ("2026-11-21", "2026-11-21"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1e3'", "1e3"),
        ('"no"', "no"),
        ("!!str 12", "12"),
        ("!!float 1", 1),
        (".inf", ".inf"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    read = parse_yaml(f"a: {text}", "x").tree["a"]
    assert read == value
    assert type(read) is type(value)


def test_anchors_and_merge_keys_are_followed() -> None:
    tree = parse_yaml("a: &a {x: 1, y: 2}\nb: *a\nc: {<<: *a, y: 3}", "x").tree
    assert tree["b"] == {"x": 1, "y": 2}
    assert tree["c"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a: [1", "malformed YAML", "f:"),
        ("a: 1\nb: c: d", "malformed YAML", "f:2"),
        ("- a", "not a mapping", "f:1"),
        ("a: 1\nb: {c: 1, c: 2}", 'the key "c" stands twice', "f:2  b.c"),
        ("a: 1\n--- {b: 2}", "several documents", "f:2"),
        ("a: *b", 'the alias "*b" has no anchor', "f:1"),
        ("a: &a [*a]", 'the alias "*a" has no anchor', "f:1"),
        ("x: 1\na: !!python/name:os.system x", "cannot read the value", "f:2"),
        ("a: !!int twelve", "cannot read the value", "f:1"),
        (f"a: {'9' * 5000}", "cannot read the value", "f:1"),
        ("? [1]\n: 2", "a key is not a word", "f:1"),
        ("a: \x00", "malformed YAML", "f"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, message: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "f")
    assert message in caught.value.message
    assert (caught.value.where or "").startswith(line)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("text", "step"),
    [("a:\n\tb: 1", "spaces, not tabs"), ("a: ü".encode("latin-1"), "UTF-8"), (b"a: \x01", "UTF-8")],
)
def test_what_is_to_be_done_fits_what_is_malformed(text: str | bytes, step: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, "f")
    assert step in (caught.value.next_step or "")


def test_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read") as caught:
        load_yaml(tmp_path / "none.yaml")
    assert "none.yaml" in (caught.value.where or "")


def bomb(width: int, depth: int) -> str:
    lines = [f"a0: &a0 [{', '.join('x' * width)}]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join(lines)


BOMBS = {
    "aliases": bomb(10, 9),
    "merge keys": "a: &a {x: 1}\n"
    + "\n".join(f"b{i}: {{<<: [{', '.join(['*a'] * 500)}]}}" for i in range(60)),
    "nesting": "[" * 100_000,
    "mappings": "{a: " * 50_000,
    "long list": "a: [" + "1," * 130_000 + "]",
    "long text": "a: " + "x" * 250_000,
    "many keys": "\n".join(f"k{i}: {i}" for i in range(20_000)),
    "too large": "a: " + "x" * 10_000_000,
    "digits": "a: 1e999999999\nb: " + "1" * 200_000,
    "tags": "a: " + "!" * 100_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_within_a_second_and_a_hundred_mebibytes(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMBS[name], encoding="utf-8")
    code = (
        "import resource, sys, time; from pathlib import Path\n"
        "from evaldock_entrypoints.contract.reader import load_yaml\n"
        "from evaldock_entrypoints.contract.errors import UsageError\n"
        "before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "try: load_yaml(Path(sys.argv[1]))\n"
        "except UsageError: pass\n"
        "print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "bomb.yaml")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seconds, kib = map(float, done.stdout.split())
    assert seconds < LIMIT_S
    assert kib * 1024 < MEMORY_BYTES


YAML_PIECES = st.sampled_from(
    [
        "a",
        "b:",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&x ",
        "*x",
        "\n",
        "  ",
        "'",
        '"',
        "|",
        ">",
        "!",
        "!!int ",
        "<<: ",
        "#",
    ]
) | st.text(max_size=4)


@settings(deadline=None, max_examples=300)
@given(st.lists(YAML_PIECES, max_size=60).map("".join) | st.binary(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: str | bytes) -> None:
    start = time.process_time()
    origins, refused = read_or_refused(text)
    assert time.process_time() - start < LIMIT_S
    assert all(where.startswith("fuzz") for where in origins)
    assert refused is None or refused.startswith("fuzz")


def read_or_refused(text: str | bytes) -> tuple[list[str], str | None]:
    """Return the origins of what was read, and where it was refused."""
    try:
        return list(parse_yaml(text, "fuzz").origins.values()), None
    except UsageError as error:
        return [], error.where or ""
