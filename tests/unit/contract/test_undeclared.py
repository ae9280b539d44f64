"""Tasks that a harness has and its folder does not declare."""

from pathlib import Path

import pytest
import zstandard
from tests.kit.toy import FOLDER as TOY

from evaldock_entrypoints.contract.errors import HarnessError, UsageError
from evaldock_entrypoints.contract.framework import Framework, load_framework
from evaldock_entrypoints.contract.tasks import find_task
from evaldock_entrypoints.contract.undeclared import undeclared_names

LINES = "blimp_x\tlogprob\tnyu/blimp\nsums\tgenerate\t\nsquad_de\tgenerate\ta/squad,b/squad\n"
KINDS = {
    "generate": {"endpoint_types": ["chat", "completions"]},
    "logprob": {"endpoint_types": ["completions_logprob"], "capabilities": ["logprobs", "tokenizer"]},
}


def framework(folder: Path, text: str | None = LINES) -> Framework:
    if text is not None:
        (folder / "further.zst").write_bytes(zstandard.compress(text.encode()))
    tree = load_framework(TOY).model_dump()
    tree["undeclared"] = {"file": "further.zst", "kinds": KINDS, "note": "not declared"}
    return Framework.model_validate(tree)


def test_a_task_of_the_list_is_known_by_its_kind_and_its_data(tmp_path: Path) -> None:
    for name in ("blimp_x", "toy.blimp_x"):
        task = find_task(framework(tmp_path), name, tmp_path)
        assert (task.name, task.endpoint_types, task.note) == (
            "blimp_x",
            ["completions_logprob"],
            "not declared",
        )
        assert [source.dataset for source in task.data] == ["nyu/blimp"]
    assert len(find_task(framework(tmp_path), "squad_de", tmp_path).data) == 2


def test_what_is_declared_goes_before_the_list(tmp_path: Path) -> None:
    assert find_task(framework(tmp_path), "sums", tmp_path).description == "Twenty sums"


def test_an_unknown_name_is_refused_with_near_ones_of_both(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        find_task(framework(tmp_path), "blimp_y", tmp_path)
    assert "blimp_x" in (refused.value.next_step or "")
    with pytest.raises(UsageError) as refused:
        find_task(framework(tmp_path), "sum", tmp_path)
    assert "sums" in (refused.value.next_step or "")


@pytest.mark.parametrize("content", [None, b"torn"])
def test_a_list_that_cannot_be_read_is_the_harness_folders_fault(
    tmp_path: Path, content: bytes | None
) -> None:
    undeclared_names.cache_clear()
    known = framework(tmp_path, None)
    if content:
        (tmp_path / "further.zst").write_bytes(content)
    with pytest.raises(HarnessError, match="further tasks"):
        find_task(known, "blimp_x", tmp_path)
