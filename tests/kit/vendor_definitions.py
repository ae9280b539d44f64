"""The definitions that twenty of the vendor's wheels carry, by the wheel's name."""

import tarfile
from functools import cache
from pathlib import Path

_ARCHIVE = Path(__file__).parents[1] / "fixtures" / "vendor-definitions" / "definitions.tar.xz"


@cache
def vendor_definitions() -> dict[str, str]:
    """Return wheel → text of its framework.yml."""
    with tarfile.open(_ARCHIVE) as archive:
        return {
            member.name.removesuffix(".yml"): file.read().decode()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
