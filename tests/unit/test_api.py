"""The Python API of the host, as far as it goes without an engine."""

from pathlib import Path

import pytest

from evaldock.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget, evaluate
from evaldock_entrypoints import api as inside
from evaldock_entrypoints.contract.errors import EndpointError, UsageError

pytestmark = pytest.mark.slow  # starts processes, or waits

TARGET = EvaluationTarget(api_endpoint=ApiEndpoint(url="http://127.0.0.1:9/v1", model_id="m", type="chat"))


def test_both_sides_offer_the_same_names() -> None:
    from evaldock import api

    assert api.__all__ == inside.__all__
    shared = [name for name in api.__all__ if name != "evaluate"]
    assert all(getattr(api, name) is getattr(inside, name) for name in shared)


@pytest.mark.parametrize(
    ("config", "overrides", "words"),
    [
        (EvaluationConfig(type="no_such_task"), (), "no harness has the task"),
        (EvaluationConfig(), (), "one task, and 0 are given"),
        (EvaluationConfig(), ('evaluation.tasks=["arc_easy", "gsm8k"]',), "one task, and 2 are given"),
        (
            EvaluationConfig(type="lm-eval.arc_easy", params=ConfigParams(extra={"num_fewshots": 1})),
            (),
            "num_fewshots",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: EvaluationConfig,
    overrides: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=words):
        evaluate(config, TARGET, overrides=overrides)
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_that_is_not_there_is_an_endpoint_error(tmp_path: Path) -> None:
    config = EvaluationConfig(type="humaneval", output_dir=tmp_path / "results")
    with pytest.raises(EndpointError):
        evaluate(config, TARGET, overrides=["execution.engine=host", "execution.allow_code_execution=true"])
    assert list(tmp_path.iterdir()) == []
