"""NeMo's names in Python, the document that they make, and what results.yml becomes."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from evaldock_entrypoints.contract.errors import (
    EndpointError,
    EvaldockError,
    ExitCode,
    HarnessError,
    IncompleteError,
)
from evaldock_entrypoints.contract.layers import Layer
from evaldock_entrypoints.contract.python_api import (
    ConfigParams,
    EndpointType,
    EvaluationConfig,
    EvaluationTarget,
    concluded,
    document_tree,
)
from evaldock_entrypoints.contract.reading import read
from evaldock_entrypoints.contract.target import ApiEndpoint

FOLDER = Path("run") / "toy.sums"
SCORE = {
    "value": 0.75,
    "stderr": 0.1,
    "ci95": [0.5, 0.9],
    "n": 20,
    "method": "mean",
    "stats": {"stderr": 0.1},
}
METRICS = {"sums": {"metrics": {"acc": {"scores": {"acc": SCORE}}}}}
COUNTS = {"expected": 20, "scored": 20, "errored": 0}


def results(**over: Any) -> dict[str, Any]:
    whole = {
        "schema": "evaldock/results/v1",
        "status": "complete",
        "results": {"tasks": METRICS, "groups": {}},
        "completeness": COUNTS,
    }
    return {**whole, **over}


INCOMPLETE = results(
    status="incomplete",
    results={"tasks": {}, "groups": {}},
    completeness={**COUNTS, "scored": 19, "errored": 1},
    partial={"reasons": ["1 of 20 samples failed"], "missing": 1, "tasks": METRICS, "groups": {}},
)


def test_what_is_written_in_python_means_what_the_document_means() -> None:
    config = EvaluationConfig(
        type="mmlu_pro",
        output_dir=FOLDER,
        params=ConfigParams(limit_samples=10, temperature=0, parallelism=4, extra={"num_fewshot": 5}),
        supported_endpoint_types=["chat"],
    )
    endpoint = ApiEndpoint(
        url="http://localhost:8080/v1/chat/completions",
        model_id="m",
        type=EndpointType.CHAT,
        api_key_name="MY_KEY",
    )
    tree = document_tree(config, EvaluationTarget(api_endpoint=endpoint))
    assert set(tree["config"]["params"]) == {"limit_samples", "temperature", "parallelism", "extra"}
    merged = read([Layer(tree=tree, name="python")], flags=Layer(tree={}), environ={}).merged.tree
    assert merged["evaluation"]["tasks"] == [{"name": "mmlu_pro"}]
    assert merged["evaluation"]["params"] == {
        "limit_samples": 10,
        "temperature": 0.0,
        "parallelism": 4,
        "extra": {"num_fewshot": 5},
    }
    assert merged["target"]["api_endpoint"] == {
        "url": "http://localhost:8080/v1/chat/completions",
        "model_id": "m",
        "type": "chat",
        "api_key_name": "MY_KEY",
    }
    assert merged["output"] == {"dir": str(FOLDER)}


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (ConfigParams, {"limit_sample": 10}),
        (ConfigParams, {"parallelism": "many"}),
        (ApiEndpoint, {"url": "http://localhost", "type": "vlm"}),
        (EvaluationConfig, {"tpye": "mmlu_pro"}),
        (ApiEndpoint, {"api_key": "sk-1"}),
    ],
)
def test_an_unknown_name_or_type_is_refused(model: type[BaseModel], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**fields)


def test_a_complete_result_hands_out_its_scores() -> None:
    found = concluded(results(), FOLDER, accept_incomplete=False)
    score = found.tasks["sums"].metrics["acc"].scores["acc"]
    assert (score.value, score.stats.stderr, score.n, score.ci95) == (0.75, 0.1, 20, (0.5, 0.9))
    assert found.completeness is not None
    assert (found.status, found.completeness.scored, found.partial, found.folder) == (
        "complete",
        20,
        None,
        FOLDER,
    )


def test_an_incomplete_result_is_an_error_and_when_accepted_no_score() -> None:
    with pytest.raises(IncompleteError, match="1 of 20 samples failed") as caught:
        concluded(INCOMPLETE, FOLDER, accept_incomplete=False)
    assert caught.value.exit_code is ExitCode.INCOMPLETE
    found = concluded(INCOMPLETE, FOLDER, accept_incomplete=True)
    assert (found.status, found.tasks, found.groups) == ("incomplete", {}, {})
    assert found.partial is not None
    assert found.partial.missing == 1
    assert found.partial.tasks["sums"].metrics["acc"].scores["acc"].value == 0.75


@pytest.mark.parametrize(
    ("tree", "kind"),
    [
        (
            results(status="failed", error={"exit_code": 4, "message": "m", "where": "w", "next": "n"}),
            HarnessError,
        ),
        (results(status="failed", error={"exit_code": 3, "message": "m"}), EndpointError),
        (results(status="failed", error={"exit_code": 99, "message": "m"}), EvaldockError),
        ({}, HarnessError),
    ],
)
def test_a_failure_is_raised_as_its_class_even_where_incomplete_is_accepted(
    tree: dict[str, Any], kind: type[EvaldockError]
) -> None:
    with pytest.raises(EvaldockError) as caught:
        concluded(tree, FOLDER, accept_incomplete=True)
    assert type(caught.value) is kind
    assert caught.value.where
