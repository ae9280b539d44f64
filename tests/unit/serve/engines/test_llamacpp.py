"""What the embedded engine derives from its options, and what its process imports."""

import subprocess
import sys

import pytest

from evaldock_entrypoints.serve.engines.llamacpp import context_length, fitting_slots


@pytest.mark.parametrize(
    ("wanted", "trained", "length"), [(0, 8192, 4096), (0, 2048, 2048), (8192, 8192, 8192)]
)
def test_context_is_the_models_up_to_a_cap_unless_asked(wanted: int, trained: int, length: int) -> None:
    assert context_length(wanted, trained) == length


def test_context_beyond_the_models_is_refused() -> None:
    with pytest.raises(ValueError, match="8192"):
        context_length(9000, 8192)


@pytest.mark.parametrize(("slot_bytes", "slots"), [(10, 8), (40, 2), (100, 1)])
def test_whole_sequences_fill_the_caches_budget(slot_bytes: int, slots: int) -> None:
    assert fitting_slots(wanted=8, slot_bytes=slot_bytes, budget_bytes=99) == slots


def test_engine_process_imports_no_part_of_the_entrypoints_environment() -> None:
    code = (
        "import sys, evaldock_entrypoints.serve.engines.llamacpp; "
        "ours = {m for m in sys.modules if m.startswith('evaldock_entrypoints.')}; "
        "bad = {m for m in ours if not m.startswith('evaldock_entrypoints.serve')}; "
        "bad |= {'pydantic', 'click', 'yaml', 'requests', 'zstandard'} & set(sys.modules); "
        "uvicorn_needs = {'click'}; sys.exit(str(bad - uvicorn_needs) if bad - uvicorn_needs else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
