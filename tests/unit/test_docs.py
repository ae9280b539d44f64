"""What README, docs and examples promise exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaldock.cli.main import COMMANDS, UNBUILT
from evaldock.supply.paths import checkout_root

ROOT = checkout_root()
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ROOT.glob("harnesses/*/README.md")),
]
EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))

# Where a path may begin: inside images and containers, or in no place at all.
KNOWN_PLACES = re.compile(
    r"/(opt/(evaldock|harness|harness-files|backend|data)\b|run/(evaldock-|secrets)|dev/shm|etc/(profile\.d|cdi)"
    r"|bin/sh|path/to|models/|shared/models|chat/completions|v1/|aux/|_fake/)"
)
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/}>*`…)~$-])/[a-z_]\w*/[\w.-]*|(?<=`)/[a-z_]\w*/[\w.-]*")
KNOWN_HOSTS = re.compile(
    r"localhost|127\.0\.0\.1|HOST|server|github\.com|arxiv\.org|huggingface\.co|bford\.info|(.+\.)?example(\.org|\.com)?|(.+\.)?invalid"
)
URL_HOST = re.compile(r"https?://([^/\s:\"'`<>)…]+)")
COMMAND = re.compile(r"(?:^|[`/ ])evaldock ([a-z]+)(?=[\s`.;,)]|$)", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(page: Path) -> Iterator[str]:
    yield from re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a Markdown host gives the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Yield (command, its paragraph or block) of every `evaldock …` in code: fenced, or between backticks."""
    for place, block in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if place % 2:
            yield from ((name, block) for name in COMMAND.findall(block))
            continue
        for paragraph in re.split(r"\n\s*\n", block):
            in_code = "\n".join(re.findall(r"`[^`\n]+`", paragraph))
            yield from ((name, paragraph) for name in COMMAND.findall(in_code))


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{relative(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{relative(page)} links to {link}"


def test_every_example_is_shown_in_the_docs() -> None:
    linked = {(page.parent / link).resolve() for page in PAGES for link in links(page)}
    assert set(EXAMPLES) <= linked


@pytest.mark.parametrize("example", EXAMPLES, ids=relative)
def test_an_example_names_its_schema_for_editors(example: Path) -> None:
    comment, _, schema = example.read_text(encoding="utf-8").partition("\n")[0].partition("$schema=")
    assert comment == "# yaml-language-server: "
    assert (example.parent / schema).is_file()


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_commands_exist_or_are_said_to_be_missing(page: Path) -> None:
    for name, paragraph in commands(page.read_text(encoding="utf-8")):
        if name in COMMANDS:
            continue
        assert name in UNBUILT.split(), f"{relative(page)} names `evaldock {name}`"
        assert "not built" in paragraph, f"{relative(page)} promises `evaldock {name}`"


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=relative)
def test_no_path_of_one_machine_is_named(page: Path) -> None:
    found = [match[0] for match in ABSOLUTE_PATH.finditer(page.read_text(encoding="utf-8"))]
    assert [path for path in found if not KNOWN_PLACES.match(path)] == []


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=relative)
def test_no_host_is_named_but_public_and_made_up_ones(page: Path) -> None:
    found = URL_HOST.findall(page.read_text(encoding="utf-8"))
    assert [host for host in found if not KNOWN_HOSTS.fullmatch(host)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("run `evaldock resume RUN`", ["resume"]),
        ("```\n$ .venv/bin/evaldock ls runs\n```", ["ls"]),
        ("```\nevaldock run a.yaml\nevaldock build\n```", ["run", "build"]),
        ("evaldock compiles a plan", []),
    ],
)
def test_commands_are_found_in_code_only(text: str, found: list[str]) -> None:
    assert [name for name, _ in commands(text)] == found


@pytest.mark.parametrize("path", ["/srv/mirror/simple", "see `/home/me/x`", "mount /mnt/disk/models"])
def test_a_path_of_a_machine_would_be_found(path: str) -> None:
    assert ABSOLUTE_PATH.search(path)
