"""What a document becomes, whole. UPDATE_GOLDEN=1 writes the files anew: read the diff then."""

import os
import shlex
from pathlib import Path

import pytest
import yaml
from tests.kit.cli import evaldock
from tests.kit.plans import plan_of_file

from evaldock.supply.paths import checkout_root
from evaldock_entrypoints.contract.errors import ExitCode

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = checkout_root() / "examples"
CHAT = "/v1/chat/completions"
KEY = "sk-canary-51c0"

# What must be given on the command line for the documents that leave it open.
OVERRIDES = {
    "slurm_vllm_llama_3_1_8b": [
        "deployment.model_path=/shared/models/llama-3.1-8b",
        'evaluation.tasks=["mmlu_pro", "gsm8k"]',
    ],
    "local_external_endpoint": [
        f"target.api_endpoint.url=http://localhost:8080{CHAT}",
        "target.api_endpoint.model_id=llama-3.1-8b",
    ],
    "hosted_nvidia_build": [
        f"target.api_endpoint.url=https://HOST{CHAT}",
        "target.api_endpoint.model_id=meta/llama-3.1-8b-instruct",
        f"target.api_endpoint.api_key={KEY}",
    ],
    "hosted_openai": [
        f"target.api_endpoint.url=https://HOST{CHAT}",
        "target.api_endpoint.model_id=gpt-4",
        f"target.api_endpoint.api_key={KEY}",
    ],
}

# The documents of the product's sources, word for word: the files in examples/ must mean the same.
WRITTEN = {
    "local_vllm": """
deployment: {type: vllm, model_path: /path/to/model, port: 8080, gpu_memory_utilization: 0.9}
execution: {backend: local}
evaluation: {tasks: [{name: mmlu_pro}, {name: gsm8k}]}
target: {api_endpoint: {url: "http://localhost:8080/v1/chat/completions", model_id: deployed-model}}
""",
    "slurm_nemo_framework": """
deployment: {type: nemo_framework, model_path: /shared/models/llama-3.1-8b.nemo, tensor_parallelism: 4, pipeline_parallelism: 1}
execution: {backend: slurm, partition: gpu, nodes: 1, gpus_per_node: 4, time_limit: "02:00:00"}
evaluation: {tasks: [{name: mmlu_pro, params: {limit_samples: 1000}}]}
""",  # noqa: E501 - word for word
    "lepton_vllm_llama_3_1_8b": """
deployment: {type: vllm, model_path: meta-llama/Llama-3.1-8B-Instruct, resource_shape: gpu.a100.1x}
execution: {backend: lepton}
evaluation: {tasks: [{name: mmlu_pro}, {name: gsm8k}, {name: humaneval}]}
""",
}


@pytest.mark.parametrize("document", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_compiles_to_its_golden_plan(document: Path) -> None:
    plan = plan_of_file(document, *OVERRIDES.get(document.stem, ())).as_json() + "\n"
    golden = GOLDEN / f"{document.stem}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(plan, encoding="utf-8")
    assert plan == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", WRITTEN)
def test_an_example_stands_word_for_word(name: str) -> None:
    example = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    assert example == yaml.safe_load(WRITTEN[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*WRITTEN, *OVERRIDES])
def test_a_document_of_the_sources_dry_runs_as_it_is_typed(name: str, tmp_path: Path) -> None:
    given = [part for override in OVERRIDES.get(name, ()) for part in ("-o", override)]
    command = ["run", "--config-dir", str(EXAMPLES), "--config-name", name, *given, "--dry_run"]
    homes = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ended = evaldock(*command, cwd=tmp_path, env=homes)
    assert ended.code == ExitCode.COMPLETE, ended.err
    assert ended.json["evaluations"], shlex.join(command)
    assert KEY not in ended.out + ended.err
    if name.startswith("hosted"):
        variable = {"hosted_openai": "OPENAI_API_KEY", "hosted_nvidia_build": "NGC_API_KEY"}[name]
        assert ended.json["adapter"]["unit"]["secret_names"] == [variable]
        assert f"export {variable}=" in ended.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("slurm_nemo_framework", "execution.type: slurm"),
        ("lepton_vllm_llama_3_1_8b", "execution.type: lepton"),
        ("local_vllm", "is not in the image"),
    ],
)
def test_what_cannot_be_carried_out_is_planned_noted_and_refused(
    name: str, part: str, tmp_path: Path
) -> None:
    document = str(EXAMPLES / f"{name}.yaml")
    homes = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    planned = evaldock("run", document, "--dry_run", cwd=tmp_path, env=homes)
    assert planned.code == ExitCode.COMPLETE
    assert part in planned.err
    refused = evaldock("run", document, cwd=tmp_path, env=homes)
    assert refused.code == ExitCode.USAGE
    assert part in refused.err
    assert not (tmp_path / "results").exists()
