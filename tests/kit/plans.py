"""Plans of documents with made-up pins: what --dry_run prints, without anything built."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaldock.compiler import Inputs, Surroundings, compile_plan
from evaldock.compiler.images import needed_images
from evaldock.pins import ImagePin
from evaldock.plan import Plan
from evaldock.registry import load_registry
from evaldock_entrypoints.contract.document import Document
from evaldock_entrypoints.contract.layers import Layer, Merged
from evaldock_entrypoints.contract.overrides import override_layer
from evaldock_entrypoints.contract.reader import load_yaml
from evaldock_entrypoints.contract.reading import read
from evaldock_entrypoints.contract.validation import validate

AROUND = Surroundings(run_id="RUN", run_dir="/out/RUN", user="1000:1000", working_dir="/home/me")
NO_FLAGS = Layer(tree={}, name="flag")


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
    return plan_of_layers([Layer(tree=dict(tree), name="document")])


def plan_of_file(path: Path, *overrides: str) -> Plan:
    """Compile a document file, its origins named without its folder."""
    layer = load_yaml(path)
    origins = {key: where.replace(str(path), path.name) for key, where in layer.origins.items()}
    return plan_of_layers([Layer(tree=layer.tree, origins=origins, name=path.name)], *overrides)


def plan_of_layers(layers: Sequence[Layer], *overrides: str) -> Plan:
    """Compile layers with -o overrides over them."""
    merged = read(layers, flags=NO_FLAGS, overrides=override_layer(overrides), environ={}).merged
    return compile_plan(inputs_of(merged))


def inputs_of(merged: Merged) -> Inputs:
    """Return what compiling a merged tree starts from."""
    document, registry = validate(Document, merged), load_registry()
    pins = {name: made_up_pin(name) for name in needed_images(document, merged, registry)}
    return Inputs(document=document, merged=merged, registry=registry, pins=pins, around=AROUND)
