"""Flags of `serve` become the engine's command line, or a refusal."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.serve.cli import serve
from evaldock_entrypoints.serve.processors import available_processors


@pytest.fixture(autouse=True)
def image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALDOCK_BACKEND", "llamacpp")
    monkeypatch.delenv("EVALDOCK_BACKEND_PYTHON", raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "tiny.gguf"
    path.parent.mkdir()
    path.write_bytes(b"GGUF")
    return path


def run(*flags: object) -> Result:
    return CliRunner().invoke(serve, [*map(str, flags), "--dry_run"], catch_exceptions=True)


def argv(*flags: object) -> list[str]:
    result = run(*flags)
    assert result.exit_code == 0, result.output
    parsed: list[str] = json.loads(result.output)["argv"]
    return parsed


def refusal(*flags: object) -> UsageError:
    error = run(*flags).exception
    assert isinstance(error, UsageError)
    return error


def test_golden_command_line(model: Path) -> None:
    assert argv(
        "--model_path", model, "--served_model_name", "n", "--max_model_len", 2048, "--threads", 2
    ) == [
        "/opt/backend/bin/python",
        "-m",
        "evaldock_entrypoints.serve.engines.llamacpp",
        *("--model", str(model)),
        *("--name", "n"),
        *("--host", "0.0.0.0"),
        *("--port", "8080"),
        *("--max_model_len", "2048"),
        *("--max_batch_size", "16"),
        *("--kv_cache_mib", "384"),
        *("--threads", "2"),
        *("--queue_bound", "1024"),
    ]


def test_hyphens_and_contract_aliases_are_the_same_flags(model: Path) -> None:
    assert argv("--checkpoint-path", model, "--max-model-len", 7) == argv(
        "--model_path", model, "--max_model_len", 7
    )


def test_folder_with_one_model_and_its_name(model: Path) -> None:
    line = argv("--model_path", model.parent)
    assert line[line.index("--model") + 1] == str(model)
    assert line[line.index("--name") + 1] == "tiny"


def test_split_model_is_its_first_part(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"m-0000{part}-of-00002.gguf").write_bytes(b"GGUF")
    assert str(tmp_path / "m-00001-of-00002.gguf") in argv("--model_path", tmp_path)


def test_flags_stand_over_the_documents_deployment_block(model: Path, tmp_path: Path) -> None:
    document = tmp_path / "run.yaml"
    document.write_text(
        f"deployment: {{type: llamacpp, model_path: {model}, port: 9000, max_model_len: 512}}\n"
    )
    line = argv("--config", document, "--port", 9001)
    assert line[line.index("--port") + 1] == "9001"
    assert line[line.index("--max_model_len") + 1] == "512"


def test_document_error_names_file_line_and_nearest_key(model: Path, tmp_path: Path) -> None:
    document = tmp_path / "run.yaml"
    document.write_text(f"deployment:\n  model_path: {model}\n  max_model_length: 512\n")
    message = refusal("--config", document).render("serve")
    assert f"{document}:3" in message
    assert "max_model_len" in message


@pytest.mark.parametrize(
    "flags",
    [
        ("--tensor_parallelism", 2),
        ("--tensor-parallel-size", 2),
        ("--replicas", 2),
        ("--num_nodes", 2),
        ("--gpu_memory_utilization", 0.5),
        ("--dtype", "float16"),
        ("--quantization", "awq"),
        ("--cuda_graphs", "false"),
        ("--flash_decoding", "true"),
    ],
)
def test_what_this_backend_cannot_follow_is_refused(model: Path, flags: tuple[object, ...]) -> None:
    error = refusal("--model_path", model, *flags)
    assert error.exit_code == 2
    assert "llamacpp" in error.message
    assert error.next_step


def test_neutral_values_are_accepted(model: Path) -> None:
    assert argv("--model_path", model, "--tensor_parallelism", 1, "--dtype", "auto", "--replicas", 1)


@pytest.mark.parametrize("count", [0, 2])
def test_folder_without_exactly_one_model_is_refused(tmp_path: Path, count: int) -> None:
    for index in range(count):
        (tmp_path / f"{index}.gguf").write_bytes(b"")
    assert "exactly one GGUF" in refusal("--model_path", tmp_path).message


def test_missing_model_is_refused(tmp_path: Path) -> None:
    assert "no model at" in refusal("--model_path", tmp_path / "none.gguf").message
    assert "no model given" in refusal().message


def test_image_without_a_backend_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALDOCK_BACKEND")
    assert "no serving backend" in refusal("--model_path", model).message
    monkeypatch.setenv("EVALDOCK_BACKEND", "../evil")
    assert "unknown" in refusal("--model_path", model).message


def test_processor_limit_of_a_container_counts(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    allowed = available_processors(tmp_path / "absent")
    limit.write_text("max 100000\n")
    assert available_processors(limit) == allowed
    limit.write_text("50000 100000\n")
    assert available_processors(limit) == 1
