"""Which image `evaldock conformance` tries."""

import pytest

from evaldock.conformance.image import pin_of
from evaldock.registry import load_registry
from evaldock_entrypoints.contract.errors import UsageError


@pytest.mark.parametrize("called", ["llamacpp", "llama-cpp", "entrypoints"])
def test_an_image_that_is_no_harness_is_refused_by_name(called: str) -> None:
    with pytest.raises(UsageError, match=f'"{called}" is no harness') as refused:
        pin_of(called, load_registry())
    assert "lm-eval" in (refused.value.next_step or "")
