"""Streams, colours, completion, signals and --json of the command line."""

import errno
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from tests.kit.cli import evaldock

from evaldock.cli.main import COMMANDS
from evaldock.cli.main import evaldock as root
from evaldock_entrypoints.command_line import run_command
from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # starts processes

PROGRAM = (sys.executable, "-c", "from evaldock.cli.main import main; main()")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A home of its own, and no engine."""
    return {
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        "NO_PROXY": "*",
    }


def commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is no group, with the words that lead to it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command, info_name="evaldock")
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, (*path, name))


ALL = dict(commands(root))
WITH_JSON = [
    path for path, command in ALL.items() if any("--json" in option.opts for option in command.params)
]
DEAD = "http://127.0.0.1:9/v1"
# Behind each command, so that it ends soon and starts nothing.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "run": ("none.yaml",),
    "resume": ("2031",),
    "check": (DEAD, "--timeout_s", "2"),
    "query": (DEAD, "hello", "--model_id", "m"),
    "deploy": ("none.yaml",),
    "build": ("no-such-image",),
    "conformance": ("no-such-image",),
}
# These have facts to print even where there is no engine, no run and no image.
SPEAKING = {"ls backends", "ls images", "ls runs", "ls tasks", "doctor", "check"}


@pytest.mark.parametrize("path", WITH_JSON, ids=" ".join)
def test_json_is_all_that_stands_on_stdout(
    path: tuple[str, ...], tmp_path: Path, env: dict[str, str]
) -> None:
    ended = evaldock(*path, *ARGUMENTS.get(" ".join(path), ()), "--json", cwd=tmp_path, env=env, timeout_s=60)
    if " ".join(path) in SPEAKING:
        json.loads(ended.out)
    else:
        assert ended.code != 0
        assert ended.out == ""
    if ended.code != 0:
        assert "evaldock: error: " in ended.err or " ".join(path) == "doctor"
    assert "Traceback" not in ended.err
    assert "internal error" not in ended.err


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_goes_to_stdout_and_nothing_elsewhere(path: tuple[str, ...]) -> None:
    ended = CliRunner().invoke(root, [*path, "--help"], prog_name="evaldock")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: evaldock " + " ".join(path))


@pytest.mark.parametrize(
    "argv", [("--debug", "ls", "runs"), ("ls", "--debug", "runs"), ("ls", "runs", "--debug")]
)
def test_debug_stands_anywhere(argv: tuple[str, ...], tmp_path: Path) -> None:
    assert evaldock(*argv, cwd=tmp_path).code == 0


@pytest.mark.parametrize("argv", [("--debug", "resume", "x"), ("resume", "x", "--debug")])
def test_debug_adds_a_traceback_to_an_error(argv: tuple[str, ...], tmp_path: Path) -> None:
    ended = evaldock(*argv, cwd=tmp_path)
    assert ended.code == ExitCode.USAGE
    assert "Traceback" in ended.err
    assert "evaldock: error: no run begins with" in ended.err


def test_a_full_disk_under_standard_output_is_no_bug_of_ours() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*PROGRAM, "schema"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ended.returncode == ExitCode.EXECUTION
    assert ended.stderr.startswith("evaldock: error: there is no room left")
    assert "internal" not in ended.stderr


def test_a_place_that_may_not_be_written_is_no_bug_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def refused() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/cache/evaldock")

    with pytest.raises(SystemExit) as ended:
        run_command(refused, [], "evaldock")
    assert ended.value.code == ExitCode.EXECUTION
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "  /cache/evaldock"
    assert lines[2].startswith("  next: ")


def test_an_error_without_a_place_names_the_command(tmp_path: Path, env: dict[str, str]) -> None:
    ended = evaldock("build", "nope", cwd=tmp_path, env=env)
    assert ended.code == ExitCode.USAGE
    assert ended.err.splitlines()[1] == "  evaldock build"


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [*PROGRAM, "ls", "tasks"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (ExitCode.INTERRUPTED, b"")


@pytest.fixture
def sigint_counts() -> Iterator[None]:
    """Commands in the background of a shell ignore SIGINT, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("sigint_counts")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_75(number: signal.Signals, tmp_path: Path, env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        argv = [*PROGRAM, "query", url, "hello", "--model_id", "m"]
        child = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=os.environ | env)
        connection, _ = silent.accept()
        with connection:
            connection.recv(65536)  # the command waits for an answer now
            child.send_signal(number)
            try:
                _, err = child.communicate(timeout=30)
            finally:
                child.kill()
    assert child.returncode == ExitCode.INTERRUPTED
    assert "evaldock: error: interrupted" in err
    assert "Traceback" not in err


# Colours

BARS = """
import json, pathlib, types
from evaldock.cli.show import events_for
folder = pathlib.Path.cwd()
(folder / "progress.json").write_text(json.dumps({"phase": "ask", "done": 1, "total": 2}))
with events_for(1) as events:
    events.step("a step")
    events.progress(types.SimpleNamespace(folder="lm-eval.gsm8k"), folder, None)
print(type(events).__name__)
"""
COLOUR = "\x1b[3"


def on_a_terminal(cwd: Path, **variables: str) -> str:
    """Run the display of a run with standard error on a terminal; return what arrives there."""
    ours, theirs = pty.openpty()
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "TERM")
    }
    done = subprocess.run(
        [sys.executable, "-c", BARS],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=kept | variables,
        timeout=30,
        check=True,
    )
    os.close(theirs)
    text = os.read(ours, 100_000)
    os.close(ours)
    return (text + done.stdout).decode()


def test_no_color_leaves_bars_and_takes_colours(tmp_path: Path) -> None:
    assert COLOUR in on_a_terminal(tmp_path, TERM="xterm-256color")
    text = on_a_terminal(tmp_path, TERM="xterm-256color", NO_COLOR="1")
    assert "TerminalEvents" in text
    assert "lm-eval.gsm8k" in text
    assert COLOUR not in text


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    text = on_a_terminal(tmp_path, TERM="dumb")
    assert "PlainEvents" in text
    assert "\x1b" not in text


# Completion


def completed(words: str, cwd: Path, **env: str) -> list[str]:
    """Ask what bash asks for the words typed so far; the last one is the one to complete."""
    typed = words.split(" ")
    variables = {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(typed) - 1),
        "_EVALDOCK_COMPLETE": "bash_complete",
        **env,
    }
    done = subprocess.run(
        PROGRAM, cwd=cwd, env=os.environ | variables, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two runs and a folder that is none."""
    for name in ("20260101T000000Z-aaaa", "20260202T000000Z-bbbb"):
        (tmp_path / "results" / name).mkdir(parents=True)
        (tmp_path / "results" / name / "run.yaml").touch()
    (tmp_path / "results" / "2026-notes").mkdir()
    return tmp_path


def test_bash_completes_commands_sub_commands_and_options(tmp_path: Path) -> None:
    assert completed("evaldock re", tmp_path) == ["resume", "results"]
    assert completed("evaldock ls ", tmp_path) == ["backends", "images", "runs", "tasks"]
    assert "--limit_samples" in completed("evaldock run --li", tmp_path)
    assert completed("evaldock ", tmp_path) == list(COMMANDS)


@pytest.mark.parametrize("command", ["resume", "results"])
def test_bash_completes_run_ids(command: str, runs: Path) -> None:
    assert completed(f"evaldock {command} 20", runs) == ["20260202T000000Z-bbbb", "20260101T000000Z-aaaa"]
    assert completed(f"evaldock {command} 202601", runs) == ["20260101T000000Z-aaaa"]
    assert completed(f"evaldock {command} --output-dir elsewhere 20", runs) == []


def test_bash_completes_image_names(tmp_path: Path) -> None:
    assert completed("evaldock build l", tmp_path) == ["llamacpp", "lm-eval"]


def test_completing_a_command_imports_none() -> None:
    code = (
        "import sys, os\n"
        "try:\n    from evaldock.cli.main import main; main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'pydantic', 'yaml', 'docker', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    variables = {"COMP_WORDS": "evaldock r", "COMP_CWORD": "1", "_EVALDOCK_COMPLETE": "bash_complete"}
    argv = [sys.executable, "-c", code]
    done = subprocess.run(
        argv, env=os.environ | variables, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_ask_for_our_completions(shell: str, tmp_path: Path) -> None:
    script = evaldock("completion", shell, cwd=tmp_path)
    assert script.code == 0
    assert f"_EVALDOCK_COMPLETE={shell}_complete" in script.out


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = evaldock("completion", "bash", cwd=tmp_path).out
    typing = f"COMP_WORDS=(evaldock res) COMP_CWORD=1\n_evaldock_completion {tmp_path}/evaldock"
    asked = f'{script}\n{typing}\necho "${{COMPREPLY[*]}}"'
    program = tmp_path / "evaldock"
    program.write_text(f"#!{sys.executable}\nfrom evaldock.cli.main import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.split() == ["resume", "results"]


@pytest.mark.parametrize("command", ["resume", "results"])
def test_a_prefix_that_two_runs_share_is_refused_with_both(command: str, runs: Path) -> None:
    ended = evaldock(command, "20", cwd=runs)
    assert ended.code == ExitCode.USAGE
    assert ended.out == ""
    assert '2 runs begin with "20"' in ended.err
    assert "20260202T000000Z-bbbb, 20260101T000000Z-aaaa" in ended.err


def test_schema_prints_the_documents_schema(tmp_path: Path) -> None:
    assert "deployment" in evaldock("schema", cwd=tmp_path).json["properties"]
    assert "phases" in evaldock("schema", "framework", cwd=tmp_path).json["properties"]
