import pytest
from tests.kit.plans import made_up_pin

from evaldock.registry import (
    NO_SUCH_BACKEND,
    ImagePin,
    load_registry,
    refuse_missing,
    registry_path,
    resolve,
)
from evaldock.supply.paths import checkout_root
from evaldock.supply.registry_file import registry_text
from evaldock_entrypoints.contract.errors import NotBuiltError, PinError, UsageError


def test_registry_yaml_is_what_the_folders_say() -> None:
    assert registry_path().read_text(encoding="utf-8") == registry_text(checkout_root()), (
        "run `make generate`"
    )


def test_every_task_says_what_a_user_must_know() -> None:
    for harness, task in load_registry().tasks:
        name = f"{harness}.{task.name}"
        assert task.description, name
        assert task.primary_metric, name
        assert all(source.license for source in task.data), name
        assert task.data, name


def test_an_image_built_here_takes_precedence_over_a_published_one() -> None:
    registry = load_registry()
    entry = registry.harnesses["lm-eval"].model_copy(
        update={"digests": {"linux/amd64": "sha256:" + "a" * 64}}
    )
    published = registry.model_copy(update={"harnesses": {"lm-eval": entry}})
    built: dict[str, ImagePin] = {"lm-eval": made_up_pin("lm-eval")}
    assert resolve("lm-eval", published, built, "linux/amd64").origin == "built here"
    pin = resolve("lm-eval", published, {}, "linux/amd64")
    assert (pin.origin, pin.reference) == ("registry", f"evaldock/lm-eval@sha256:{'a' * 64}")


def test_an_image_that_is_nowhere_can_be_planned_and_is_refused_with_the_command_that_builds_it() -> None:
    pin = resolve("lm-eval", load_registry(), {}, "linux/amd64")
    assert (pin.origin, pin.digest) == ("missing", None)
    with pytest.raises(PinError, match=r"neither built .* nor published for linux/amd64") as caught:
        refuse_missing([made_up_pin("base"), pin])
    assert caught.value.next_step == "evaldock build lm-eval"
    with pytest.raises(UsageError, match="no image is called"):
        resolve("lm-evil", load_registry(), {}, "linux/amd64")


def test_a_backend_without_an_image_can_be_planned_and_is_refused_as_not_built() -> None:
    pin = resolve("vllm", load_registry(), {}, "linux/amd64")
    assert (pin.name, pin.origin, pin.reason) == ("vllm", "missing", NO_SUCH_BACKEND)
    with pytest.raises(NotBuiltError, match="vllm is not built yet in this version"):
        refuse_missing([pin])
    refuse_missing([made_up_pin("vllm")])
