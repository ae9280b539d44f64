"""The order in which an image's name is resolved: docs/registry.md, row by row."""

import pytest
from tests.kit.plans import made_up_pin
from tests.unit.test_registry import DIGEST, backend, harness

from evaldock.pins import NO_SUCH_BACKEND, ImagePin, candidates, refuse_missing, resolve
from evaldock.registry import Mirror, Registry
from evaldock_entrypoints.contract.errors import NotBuiltError, PinError, UsageError

HERE = "linux/amd64"
OTHER = "sha256:" + "b" * 64


def registry(*, published: bool = True, mirrors: tuple[tuple[str, str], ...] = ()) -> Registry:
    entry = harness("toy", "vendor/toy") | {"published": {HERE: {"digest": DIGEST}} if published else {}}
    return Registry.model_validate(
        {
            "mirrors": [{"from": start, "to": to} for start, to in mirrors],
            "harnesses": {"toy": entry},
            "backends": {"llamacpp": backend("llamacpp")},
        }
    )


BUILT = {"toy": made_up_pin("toy")}


def summary(pin: ImagePin) -> tuple[str, str, str | None]:
    return pin.origin, pin.reference, pin.digest


@pytest.mark.parametrize(
    ("image", "built", "published", "expected"),
    [
        # by digest, as the user wrote it; a tag beside a digest says nothing
        (f"site.example/mine@{OTHER}", True, True, ("registry", f"site.example/mine@{OTHER}", OTHER)),
        (f"site.example/mine:3@{OTHER}", True, True, ("registry", f"site.example/mine@{OTHER}", OTHER)),
        (f"vendor/toy@{OTHER}", True, True, ("registry", f"vendor/toy@{OTHER}", OTHER)),
        # a name of the catalogue, or the reference or digest of an image built here, means that one
        ("toy", True, True, ("built here", "evaldock/toy:1", BUILT["toy"].digest)),
        ("host.example/vendor/toy:25.11", False, True, ("registry", f"evaldock/toy@{DIGEST}", DIGEST)),
        ("evaldock/toy:1", True, True, ("built here", "evaldock/toy:1", BUILT["toy"].digest)),
        (f"x@{BUILT['toy'].digest}", True, True, ("built here", "evaldock/toy:1", BUILT["toy"].digest)),
        # nothing written: built here, published, missing
        (None, True, True, ("built here", "evaldock/toy:1", BUILT["toy"].digest)),
        (None, False, True, ("registry", f"evaldock/toy@{DIGEST}", DIGEST)),
        (None, False, False, ("missing", "evaldock/toy:1", None)),
    ],
)
@pytest.mark.parametrize("name", ["toy", "vendor/toy"])
def test_the_order_of_resolution(
    name: str,
    image: str | None,
    built: bool,
    published: bool,
    expected: tuple[str, str, str | None],
) -> None:
    pin = resolve(name, registry(published=published), BUILT if built else {}, HERE, image=image)
    assert summary(pin) == expected
    assert pin.name == "toy"


def test_a_digest_of_another_platform_does_not_count() -> None:
    pin = resolve("toy", registry(), {}, "linux/riscv64")
    assert pin.origin == "missing"
    assert pin.reason == "neither built on this machine nor published for linux/riscv64"


def test_a_tag_alone_needs_leave_and_marks_the_image() -> None:
    with pytest.raises(PinError, match="can mean another image tomorrow") as caught:
        resolve("toy", registry(), BUILT, HERE, image="site.example/mine:3")
    assert "--allow-unpinned" in (caught.value.next_step or "")
    pin = resolve("toy", registry(), BUILT, HERE, image="site.example/mine:3", allow_unpinned=True)
    assert summary(pin) == ("unpinned", "site.example/mine:3", None)


@pytest.mark.parametrize("image", ["", "Mine:1", "a b", "-x", f"a@sha256:{'1' * 63}", "https://a/b", "a@b:1"])
def test_what_is_no_reference_is_a_usage_error(image: str) -> None:
    with pytest.raises(UsageError, match="not the reference of an image"):
        resolve("toy", registry(), {}, HERE, image=image, allow_unpinned=True)


def test_a_harness_image_cannot_stand_for_a_backend() -> None:
    with pytest.raises(UsageError, match="the image of a harness, and a backend is asked for"):
        resolve("llamacpp", registry(), {}, HERE, image="toy")
    with pytest.raises(UsageError, match="the image of a harness, and a backend is asked for"):
        resolve("vllm", registry(), {}, HERE, image="toy")


def test_an_unknown_name_is_refused_with_what_is_near() -> None:
    with pytest.raises(UsageError, match='no image is called "toyy"') as caught:
        resolve("toyy", registry(), {}, HERE)
    assert "toy" in (caught.value.next_step or "")


def test_an_image_that_is_nowhere_can_be_planned_and_is_refused_with_the_command_that_builds_it() -> None:
    pin = resolve("toy", registry(published=False), {}, HERE)
    with pytest.raises(PinError, match=r"neither built .* nor published for linux/amd64") as caught:
        refuse_missing([made_up_pin("base"), pin])
    assert caught.value.next_step == "evaldock build toy"


def test_a_backend_without_an_image_can_be_planned_and_is_refused_as_not_built() -> None:
    pin = resolve("vllm", registry(), {}, HERE)
    assert (pin.name, pin.origin, pin.reason) == ("vllm", "missing", NO_SUCH_BACKEND)
    with pytest.raises(NotBuiltError, match="vllm is not built yet in this version"):
        refuse_missing([pin])
    refuse_missing([made_up_pin("vllm")])


def test_a_backend_without_an_image_takes_one_that_the_user_names() -> None:
    pin = resolve("generic", registry(), {}, HERE, image=f"site.example/server@{OTHER}")
    assert (pin.name, *summary(pin)) == ("generic", "registry", f"site.example/server@{OTHER}", OTHER)


def test_mirrors_are_tried_in_order_and_the_repository_last() -> None:
    mirrors = (
        ("evaldock", "near.example/evaldock"),
        ("evald", "never.example"),  # half a component is no prefix
        ("elsewhere", "never.example"),
        ("evaldock/toy", "far.example:5000/a/toy/"),
        ("evaldock/", "near.example/evaldock"),  # the same place again
    )
    known = registry(mirrors=mirrors)
    assert candidates(resolve("toy", known, {}, HERE), known) == [
        f"near.example/evaldock/toy@{DIGEST}",
        f"far.example:5000/a/toy@{DIGEST}",
        f"evaldock/toy@{DIGEST}",
    ]


def test_a_tag_goes_through_mirrors_too() -> None:
    known = registry(mirrors=(("site.example", "near.example/site"),))
    pin = resolve("toy", known, {}, HERE, image="site.example/mine:3", allow_unpinned=True)
    assert candidates(pin, known) == ["near.example/site/mine:3", "site.example/mine:3"]


@pytest.mark.parametrize(
    ("start", "reference", "rewritten"),
    [
        ("a.example", "a.example/x:1", "b.example/x:1"),
        ("a.example/", "a.example/x:1", "b.example/x:1"),
        ("a.example/x", "a.example/x:1", "b.example:1"),
        ("a.example/x", f"a.example/x@{OTHER}", f"b.example@{OTHER}"),
        ("a.example:5000", "a.example:5000/x", "b.example/x"),
        ("a.example", "a.example:5000/x", None),  # another registry of that host
        ("a.example", "a.examples/x", None),
        ("x", "a.example/x", None),
    ],
)
def test_a_mirror_rewrites_whole_components_at_the_beginning(
    start: str, reference: str, rewritten: str | None
) -> None:
    mirror = Mirror.model_validate({"from": start, "to": "b.example"})
    assert mirror.rewrite(reference) == rewritten


def test_an_image_built_here_or_missing_is_asked_for_nowhere() -> None:
    known = registry(published=False, mirrors=(("evaldock", "near.example"),))
    assert candidates(resolve("toy", known, BUILT, HERE), known) == []
    assert candidates(resolve("toy", known, {}, HERE), known) == []


def test_the_adapters_image_is_published_and_mirrored_as_any_other() -> None:
    entry = {
        **{"kind": "adapter", "repository": "evaldock/entrypoints", "version": "1", "description": ""},
        **{"lock_sha256": "", "published": {HERE: {"digest": DIGEST}}},
    }
    mirrors = [{"from": "evaldock", "to": "site.example/m"}]
    made = Registry.model_validate({"adapters": {"entrypoints": entry}, "mirrors": mirrors})
    pin = resolve("entrypoints", made, {}, HERE)
    assert summary(pin) == ("registry", f"evaldock/entrypoints@{DIGEST}", DIGEST)
    assert candidates(pin, made)[0] == f"site.example/m/entrypoints@{DIGEST}"
    built = {"entrypoints": made_up_pin("entrypoints")}
    assert resolve("entrypoints", made, built, HERE).origin == "built here"


def test_a_catalogue_without_the_adapters_image_names_the_command_that_builds_it() -> None:
    pin = resolve("entrypoints", registry(), {}, HERE)
    with pytest.raises(PinError, match="nor in this catalogue") as caught:
        refuse_missing([pin])
    assert caught.value.next_step == "evaldock build entrypoints"
