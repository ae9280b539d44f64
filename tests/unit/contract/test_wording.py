"""What libraries' exceptions say, in our words."""

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock_entrypoints.contract.wording import reason


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(default=1, ge=1)


class Whole(BaseModel):
    parts: list[Part]


def test_what_pydantic_found_is_said_with_its_keys_and_without_values_or_links() -> None:
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"parts": [{"sise": "canary"}, {"size": 0}]})
    said = reason(caught.value)
    assert said == 'unknown key "parts.0.sise"; parts.1.size: input should be greater than or equal to 1'


def test_malformed_yaml_is_said_with_its_line() -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.safe_load("a: 1\nb: [")
    assert reason(caught.value).startswith("malformed YAML in line 2: ")


def test_a_file_that_cannot_be_read_is_said_in_one_word() -> None:
    assert reason(PermissionError(13, "Permission denied", "/x")) == "Permission denied"
