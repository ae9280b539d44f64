"""What a document becomes, whole. UPDATE_GOLDEN=1 writes the files anew: read the diff then."""

import os
from pathlib import Path

import pytest
from tests.kit.plans import plan_of_file

from evaldock.supply.paths import checkout_root

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    "document", sorted((checkout_root() / "examples").glob("*.yaml")), ids=lambda p: p.stem
)
def test_an_example_compiles_to_its_golden_plan(document: Path) -> None:
    plan = plan_of_file(document).as_json() + "\n"
    golden = GOLDEN / f"{document.stem}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(plan, encoding="utf-8")
    assert plan == golden.read_text(encoding="utf-8")
