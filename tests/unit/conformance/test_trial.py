"""The document by which an image is tried: of its own task, and with whatever that task cannot do without."""

from pathlib import Path
from typing import Any

from evaldock.conformance.subject import Subject
from evaldock.conformance.trial import KEY_NAME, MODEL, Trial
from evaldock.pins import ImagePin
from evaldock.registry import Registry
from evaldock.testkit.fake_endpoint import RunningEndpoint
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.framework import Framework

CANARY = "canary-0123456789abcdef"


def trial(**task: Any) -> Trial:
    about = dict.fromkeys(("name", "version", "description", "source", "license"), "toy")
    framework = Framework.model_validate(
        {
            "framework": about,
            "extras": {"num_fewshot": {"type": "int", "description": "shots"}},
            "phases": [{"name": "ask", "argv": ["/bin/true"]}],
            "tasks": [{"name": "sums", "description": "", "endpoint_types": ["chat"], **task}],
        }
    )
    pin = ImagePin(name="toy", version="1", reference="toy:1", digest=None, image_id=None, origin="unpinned")
    return Trial(
        subject=Subject(pin=pin, user="1", label=None, framework=framework, task=framework.tasks[0]),
        catalogue=Registry(),
        engine="podman",
        endpoint=RunningEndpoint(url="http://127.0.0.1:4242", port=4242, pid=1),
        folder=Path("tried"),
        limit=3,
        report=lambda _: None,
        canary=CANARY,
    )


def task_of(tree: dict[str, Any]) -> dict[str, Any]:
    Document.model_validate(tree)
    (task,) = tree["evaluation"]["tasks"]
    assert task["name"] == "toy.sums"
    return dict(task)


def test_the_endpoint_is_the_fake_one_and_its_key_is_only_named() -> None:
    tree = trial().document()
    endpoint = {"url": "http://127.0.0.1:4242/v1", "model_id": MODEL, "api_key_name": KEY_NAME}
    assert tree["target"] == {"api_endpoint": endpoint}
    assert task_of(tree)["params"]["limit_samples"] == 3
    assert CANARY not in repr(trial()) + str(tree)


def test_a_judge_is_the_same_endpoint() -> None:
    tree = trial(auxiliary=["judge"]).document("http://127.0.0.1:9")
    assert tree["target"]["auxiliary"]["judge"] == tree["target"]["api_endpoint"]
    assert tree["target"]["api_endpoint"]["url"] == "http://127.0.0.1:9/v1"
    task_of(tree)


def test_shots_are_left_out_only_where_the_image_lacks_them() -> None:
    assert "extra" not in task_of(trial().document())["params"]
    lacking = task_of(trial(fewshot_available=False, default_fewshot=5).document())
    assert lacking["params"]["extra"] == {"num_fewshot": 0}
