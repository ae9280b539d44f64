from collections.abc import Iterator
from pathlib import Path

import pytest

from evaldock.testkit.fake_endpoint import RunningEndpoint, running_endpoint
from evaldock.testkit.fake_endpoint.logprobs import LogprobsBug
from evaldock_entrypoints.contract.endpoint import endpoint_at
from evaldock_entrypoints.contract.errors import EndpointError, UsageError
from evaldock_entrypoints.contract.framework import EndpointType
from evaldock_entrypoints.probe import NotReadyError, Probe, check, key_value, wait_until_ready

KEY = "sk-probe-canary-77"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[RunningEndpoint]:
    with running_endpoint(api_key_name="PROBE_KEY", env={"PROBE_KEY": KEY}) as running:
        yield running


def probe(
    url: str,
    endpoint_type: EndpointType = "completions_logprob",
    model: str = "fake-model",
    key: str | None = KEY,
) -> Probe:
    made = endpoint_at(url, model_id=model, endpoint_type=endpoint_type, api_key_name="PROBE_KEY")
    return Probe(endpoint=made, api_key=key, timeout_s=5)


@pytest.mark.parametrize("endpoint_type", ["chat", "completions", "completions_logprob", "embedding"])
def test_a_truthful_endpoint_passes(endpoint: RunningEndpoint, endpoint_type: EndpointType) -> None:
    check(probe(endpoint.url, endpoint_type))


@pytest.mark.parametrize("key", [None, "wrong-key"])
def test_a_refused_key_is_named_by_its_variable_and_never_shown(
    endpoint: RunningEndpoint, key: str | None
) -> None:
    with pytest.raises(EndpointError) as caught:
        check(probe(endpoint.url, "chat", key=key))
    assert not isinstance(caught.value, NotReadyError)
    assert "PROBE_KEY" in (caught.value.next_step or "")
    assert "wrong-key" not in caught.value.render()


def test_an_unknown_model_is_final(endpoint: RunningEndpoint) -> None:
    with pytest.raises(EndpointError, match="refuses the request") as caught:
        check(probe(endpoint.url, "chat", model="another"))
    assert not isinstance(caught.value, NotReadyError)


@pytest.mark.parametrize(
    ("bug", "finding"),
    [("shifted", "wrong|shifted"), ("constant", "constant"), ("missing", "no log-probabilities")],
)
def test_log_probabilities_that_lie_are_found(bug: LogprobsBug, finding: str) -> None:
    with running_endpoint(logprobs_bug=bug) as lying, pytest.raises(EndpointError, match=finding):
        check(probe(lying.url))


def test_an_endpoint_that_comes_up_late_is_waited_for(endpoint: RunningEndpoint, tmp_path: Path) -> None:
    del tmp_path
    fault = {"match": {"first_n": 3}, "action": "status", "status": 503}
    with running_endpoint(faults=[fault]) as late:
        wait_until_ready(probe(late.url), 10)
    del endpoint


def test_an_endpoint_that_is_not_there_is_refused_at_once_or_after_the_wait() -> None:
    with pytest.raises(NotReadyError, match="does not answer"):
        wait_until_ready(probe("http://127.0.0.1:9/v1"), 0.3)


def test_a_key_variable_that_is_unset_is_a_usage_error() -> None:
    assert key_value(None, {}) is None
    assert key_value("A", {"A": "x"}) == "x"
    with pytest.raises(UsageError, match="A is not set"):
        key_value("A", {})
