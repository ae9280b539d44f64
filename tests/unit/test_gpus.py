import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaldock.gpus import number_of, split_gpus
from evaldock_entrypoints.contract.errors import UsageError
from evaldock_entrypoints.contract.fields import Gpus

some_gpus = st.one_of(
    st.sampled_from(["all", "none"]),
    st.integers(0, 6),
    st.lists(st.integers(0, 7), unique=True, max_size=4),
)
maybe_gpus = st.one_of(st.none(), some_gpus)


@pytest.mark.parametrize(
    ("execution", "deployment", "evaluation", "server", "harness"),
    [
        (None, None, None, "none", "none"),
        ("all", None, None, "all", "none"),
        (4, None, None, 4, "none"),
        ([2, 3], None, None, [2, 3], "none"),
        (4, None, 1, [0, 1, 2], [3]),
        (4, 2, 1, [0, 1], [2]),
        (4, 2, None, 2, "none"),
        ("all", 2, 2, [0, 1], [2, 3]),
        ("all", [1, 2], 1, [1, 2], [0]),
        ([4, 5, 6], None, 1, [4, 5], [6]),
        ([4, 5, 6], None, [5], [4, 6], [5]),
        ([4, 5, 6], 2, None, [4, 5], "none"),
        ("all", "none", "all", "none", "all"),
        (2, "all", None, 2, "none"),
        (2, None, "all", "none", 2),
        (None, 2, None, 2, "none"),
        (None, 1, 1, [0], [1]),
        (None, [3], [1], [3], [1]),
        (0, None, [], "none", "none"),
    ],
)
def test_a_server_gets_what_the_harness_does_not(
    execution: Gpus | None, deployment: Gpus | None, evaluation: Gpus | None, server: Gpus, harness: Gpus
) -> None:
    assert split_gpus(execution, deployment, evaluation, deployed=True) == (server, harness)


@pytest.mark.parametrize(
    ("execution", "evaluation", "harness"),
    [(None, None, "none"), ("all", None, "none"), (None, 1, 1), ("all", 1, 1), ([4, 5], 1, [4])],
)
def test_without_a_server_a_harness_gets_what_it_is_given(
    execution: Gpus | None, evaluation: Gpus | None, harness: Gpus
) -> None:
    assert split_gpus(execution, None, evaluation, deployed=False) == ("none", harness)


@pytest.mark.parametrize(
    ("execution", "deployment", "evaluation", "words"),
    [
        (2, 2, 1, "more GPUs than the run has (2)"),
        (2, None, 3, "more GPUs than the run has (2)"),
        ("none", 1, None, "more GPUs than the run has (0)"),
        ("none", "all", None, "the run has none"),
        ("none", None, "all", "the run has none"),
        ("all", [0, 1], [1], "the same GPUs"),
        ("all", "all", 1, "the same GPUs"),
        (None, "all", "all", "the same GPUs"),
        ([0, 1], [2], None, "GPU 2 is none of the run's"),
        ("all", None, 1, "cannot be known"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_their_keys(
    execution: Gpus | None, deployment: Gpus | None, evaluation: Gpus | None, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        split_gpus(execution, deployment, evaluation, deployed=True)
    assert words in caught.value.message
    named = {"execution.gpus": execution, "deployment.gpus": deployment, "evaluation.gpus": evaluation}
    for key, value in named.items():
        if value not in (None, "none"):
            assert f"{key}: {value}" in str(caught.value.where)


def test_gpus_for_a_server_that_is_not_there_are_refused() -> None:
    with pytest.raises(UsageError, match="no server"):
        split_gpus(None, 1, None, deployed=False)


@given(execution=maybe_gpus, deployment=maybe_gpus, evaluation=maybe_gpus, deployed=st.booleans())
def test_parts_never_overlap_nor_exceed_the_whole(
    execution: Gpus | None, deployment: Gpus | None, evaluation: Gpus | None, deployed: bool
) -> None:
    try:
        server, harness = split_gpus(execution, deployment, evaluation, deployed=deployed)
    except UsageError:
        return
    if number_of(server) != 0 and number_of(harness) != 0:
        assert isinstance(server, list)
        assert isinstance(harness, list)
        assert not set(server) & set(harness)
    if execution is not None and (whole := number_of(execution)) is not None:
        assert (number_of(server) or 0) + (number_of(harness) or 0) <= whole
    if isinstance(execution, list):
        used = [device for part in (server, harness) for device in (part if isinstance(part, list) else [])]
        assert set(used) <= set(execution)
        assert not any(isinstance(part, int) and part for part in (server, harness))
    for asked, got in ((deployment, server), (evaluation, harness)):
        if asked is not None and asked != "all":
            assert number_of(got) == number_of(asked)


@given(whole=st.integers(1, 8), part=st.integers(0, 8))
def test_everything_is_given_out_unless_the_server_is_told_less(whole: int, part: int) -> None:
    if part > whole:
        return
    server, harness = split_gpus(whole, None, part, deployed=True)
    assert (number_of(server) or 0) + (number_of(harness) or 0) == whole
    if 0 < part < whole:
        assert isinstance(server, list)
        assert isinstance(harness, list)
        assert [*server, *harness] == list(range(whole))
