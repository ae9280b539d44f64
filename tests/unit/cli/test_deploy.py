"""`evaldock deploy`, as far as it comes without an engine."""

import socket
from pathlib import Path

import pytest
from tests.kit.cli import Ended, evaldock

from evaldock_entrypoints.contract.errors import ExitCode

pytestmark = pytest.mark.slow  # starts processes, or waits

DOCUMENT = "deployment: {type: llamacpp, port: 18291}"


def deploy(folder: Path, *overrides: str, document: str = DOCUMENT) -> Ended:
    (folder / "serve.yaml").write_text(document, encoding="utf-8")
    (folder / "m.gguf").touch()
    argv = [part for override in overrides for part in ("-o", override)]
    env = {"XDG_DATA_HOME": str(folder / "data"), "XDG_CACHE_HOME": str(folder / "cache")}
    return evaldock("deploy", "serve.yaml", *argv, cwd=folder, env=env)


def test_a_port_in_use_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = deploy(tmp_path, "deployment.model_path=m.gguf", f"deployment.port={port}")
    assert ended.code == ExitCode.USAGE
    assert f"port {port} of this machine is in use" in ended.err
    assert f"-o deployment.port={port + 1}" in ended.err
    assert ended.out == ""
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("overrides", "code", "words"),
    [
        (("deployment.type=none",), ExitCode.USAGE, "nothing to deploy"),
        ((), ExitCode.USAGE, "a deployment needs a model"),
        (("deployment.model_path=./none.gguf",), ExitCode.USAGE, "none.gguf does not exist"),
        (("deployment.model_path=m.gguf",), ExitCode.PIN, "evaldock build llamacpp"),
    ],
)
def test_what_cannot_be_served_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], code: ExitCode, words: str
) -> None:
    document = DOCUMENT if overrides[:1] != ("deployment.type=none",) else "output: {dir: results}"
    ended = deploy(tmp_path, *overrides, document=document)
    assert ended.code == code, ended.err
    assert words in ended.err
    assert ended.out == ""


def test_a_document_needs_no_evaluation_and_one_that_has_it_serves_all_the_same(tmp_path: Path) -> None:
    document = f"{DOCUMENT}\nevaluation: {{tasks: [no_such_task]}}\n"
    ended = deploy(tmp_path, "deployment.model_path=m.gguf", document=document)
    assert "evaldock build llamacpp" in ended.err
