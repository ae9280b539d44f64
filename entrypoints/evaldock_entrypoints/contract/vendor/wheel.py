"""What a harness folder says of the vendor's wheel it rests on."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Vendor(BaseModel):
    """The key `vendor` of framework.yml."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    package: str  # on the index, such as nvidia-mmath
    definition: str  # path of the vendor's framework.yml in the wheel, such as core_evals/mmath/framework.yml
    sha256: str  # of that file, and of its copy vendor.yml
    values: dict[str, Any] = Field(default_factory=dict)  # the template's dotted keys → our templates
    without: list[str] = Field(default_factory=list)  # extras that users of this folder cannot set
    env: dict[str, str] = Field(default_factory=dict)  # of the vendor's process
