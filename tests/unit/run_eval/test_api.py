"""The Python API as a program inside an image uses it, with the toy harness."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.toy_answers import toy_answers

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock_entrypoints.api import (
    ApiEndpoint,
    ConfigParams,
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    check_endpoint,
    evaluate,
)
from evaldock_entrypoints.contract.errors import EndpointError, EvaldockError, IncompleteError, UsageError

pytestmark = pytest.mark.slow  # starts processes, or waits

TOY = Path(__file__).parents[2] / "fixtures" / "toy-harness"
REFUSED = {"match": {"item": "3"}, "action": "status", "status": 400}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEndpoint]:
    with running_endpoint(answers=[toy_answers(tmp_path_factory.mktemp("answers"))], share=0.75) as running:
        yield running


@pytest.fixture
def endpoint(shared: RunningEndpoint, monkeypatch: pytest.MonkeyPatch) -> RunningEndpoint:
    monkeypatch.setenv("EVALDOCK_HARNESS_DIR", str(TOY))
    monkeypatch.setenv("EVALDOCK_DATA_DIR", str(TOY / "data"))
    shared.reset([])
    return shared


def toy(url: str, folder: Path, mode: str = "honest", *, accept_incomplete: bool = False) -> EvaluationResult:
    config = EvaluationConfig(type="sums", output_dir=folder, params=ConfigParams(extra={"mode": mode}))
    target = EvaluationTarget(api_endpoint=ApiEndpoint(url=url, model_id="fake-model", type="completions"))
    return evaluate(config, target, accept_incomplete=accept_incomplete)


def test_the_score_is_the_share_that_was_right_and_standard_output_is_the_callers(
    tmp_path: Path, endpoint: RunningEndpoint, capfd: pytest.CaptureFixture[str]
) -> None:
    found = toy(endpoint.url, tmp_path)
    score = found.tasks["sums"].metrics["acc"].scores["acc"]
    assert (found.status, score.value, score.n) == ("complete", 0.75, 20)
    out, err = capfd.readouterr()
    assert out == ""
    assert "20 of 20 scored" in err


def test_a_failed_sample_takes_the_score_away(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    endpoint.reset([REFUSED])
    with pytest.raises(IncompleteError):
        toy(endpoint.url, tmp_path, "tolerant")
    found = toy(endpoint.url, tmp_path, "tolerant", accept_incomplete=True)
    assert (found.status, found.tasks) == ("incomplete", {})
    assert found.partial is not None
    assert found.partial.missing == 1


def test_errors_are_those_of_the_command(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    with pytest.raises(EndpointError):
        toy("http://127.0.0.1:9", tmp_path)
    with pytest.raises(UsageError, match="no_such"):
        evaluate(
            EvaluationConfig(type="sums", output_dir=tmp_path, params=ConfigParams(extra={"no_such": 1})),
            EvaluationTarget(api_endpoint=ApiEndpoint(url=endpoint.url, model_id="fake-model")),
        )
    with pytest.raises(UsageError, match="no folder"):
        evaluate(EvaluationConfig(type="sums"), EvaluationTarget())


def test_another_thread_is_refused_before_anything_starts(tmp_path: Path, endpoint: RunningEndpoint) -> None:
    raised: list[EvaldockError] = []

    def attempt() -> None:
        try:
            toy(endpoint.url, tmp_path)
        except EvaldockError as error:
            raised.append(error)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join(30)
    assert [type(error) for error in raised] == [UsageError]
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_that_answers_is_true_and_any_other_an_error(endpoint: RunningEndpoint) -> None:
    assert check_endpoint(f"{endpoint.url}/v1/completions", "completions", "fake-model") is True
    with pytest.raises(EndpointError, match="another-model"):
        check_endpoint(f"{endpoint.url}/v1/completions", "completions", "another-model")
    with pytest.raises(EndpointError):
        check_endpoint("http://127.0.0.1:9/v1", "chat", "m", max_retries=2, retry_interval=0.1)
