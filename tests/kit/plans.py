"""Plans of documents with made-up pins: what --dry_run prints, without anything built."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaldock.compiler import Surroundings, compile_plan, needed_images
from evaldock.plan import Plan
from evaldock.registry import ImagePin, load_registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.loading import Merged, load_yaml, merge, validate

AROUND = Surroundings(run_id="RUN", run_dir="/out/RUN", user="1000:1000", working_dir="/home/me")


def made_up_pin(name: str) -> ImagePin:
    """Return a pin that no engine knows."""
    return ImagePin(
        name=name,
        version="1",
        reference=f"evaldock/{name}:1",
        digest="sha256:" + "0" * 64,
        image_id="sha256:" + "1" * 64,
        origin="built here",
    )


def plan_of(tree: Mapping[str, Any]) -> Plan:
    """Compile a document given as a tree."""
    document = validate(Document, Merged(tree=dict(tree), origins={}))
    registry = load_registry()
    pins = {name: made_up_pin(name) for name in needed_images(document, registry)}
    return compile_plan(document, tree, registry, pins, AROUND)


def plan_of_file(path: Path) -> Plan:
    """Compile a document file."""
    return plan_of(merge([load_yaml(path)]).tree)
