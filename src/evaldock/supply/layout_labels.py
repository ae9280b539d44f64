"""The labels of an image in an OCI layout of anybody's: blobs are bounded and compared with their digests."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from evaldock.pins import local_platform
from evaldock.supply.layout import blob_path
from evaldock_entrypoints.contract.errors import PinError, UsageError
from evaldock_entrypoints.contract.wording import reason

_MAX_BYTES = 4 * 1024**2  # what registries allow a manifest
_REF_NAME = "org.opencontainers.image.ref.name"
_COPY_AGAIN = "copy or pull the image again from where it comes from"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Platform(_Part):
    os: str = ""
    architecture: str = ""


class _Descriptor(_Part):
    digest: str
    annotations: dict[str, str] = Field(default_factory=dict)
    platform: _Platform | None = None

    @property
    def name(self) -> str | None:
        return self.annotations.get(_REF_NAME)


class _Index(_Part):
    manifests: list[_Descriptor]


class _Manifest(_Part):
    config: _Descriptor | None = None
    manifests: list[_Descriptor] | None = None  # of an index for several platforms


class ImageSettings(_Part):
    """What an image's configuration says of its containers. user: as whom they run unless told otherwise."""

    labels: dict[str, str] | None = Field(default=None, alias="Labels")
    user: str = Field(default="", alias="User")


class _Config(_Part):
    config: ImageSettings | None = None


def labels_in_layout(folder: Path, name: str | None = None) -> Mapping[str, str]:
    """Return the labels of the image of this name, or of the only one.

    Raises UsageError where the layout or the name is none, PinError where a blob is not what its digest says.
    """
    manifest = _parsed(_Manifest, _blob(folder, _chosen(folder, name).digest))
    if manifest.manifests is not None:
        manifest = _parsed(_Manifest, _blob(folder, _of_platform(manifest.manifests).digest))
    if manifest.config is None:
        raise PinError("the layout's image has no configuration", where=str(folder), next_step=_COPY_AGAIN)
    return labels_of_config(_blob(folder, manifest.config.digest))


def labels_of_config(content: bytes | str) -> Mapping[str, str]:
    """Return the labels in an image configuration; raises PinError when it is malformed."""
    return settings_of_config(content).labels or {}


def settings_of_config(content: bytes | str) -> ImageSettings:
    """Return the settings in an image configuration; raises PinError when it is malformed."""
    return _parsed(_Config, content).config or ImageSettings()


def _chosen(folder: Path, name: str | None) -> _Descriptor:
    images = _parsed(_Index, _bytes(folder / "index.json", folder)).manifests
    found = [image for image in images if name is None or image.name == name]
    if len(found) == 1:
        return found[0]
    names = ", ".join(sorted(image.name for image in images if image.name)) or "none has a name"
    problem = f'no image "{name}"' if name and not found else f"{len(found)} images"
    raise UsageError(
        f"the layout holds {problem}", where=str(folder), next_step=f"oci:{folder}:NAME, of: {names}"
    )


def _of_platform(images: list[_Descriptor]) -> _Descriptor:
    wanted = local_platform()
    for image in images:
        if image.platform and f"{image.platform.os}/{image.platform.architecture}" == wanted:
            return image
    made_for = ", ".join(
        f"{image.platform.os}/{image.platform.architecture}" for image in images if image.platform
    )
    raise UsageError(
        f"the layout's image is not made for {wanted}",
        where=f"it is made for: {made_for or 'nothing that it names'}",
        next_step="copy the image of this platform into a layout: skopeo copy --override-arch …",
    )


def _blob(folder: Path, digest: str) -> bytes:
    if not _DIGEST.fullmatch(digest):
        raise PinError(
            "the layout names a blob by what is no SHA-256 digest", where=str(folder), next_step=_COPY_AGAIN
        )
    content = _bytes(blob_path(folder, digest), folder)
    if hashlib.sha256(content).hexdigest() != digest.removeprefix("sha256:"):
        raise PinError(
            "a blob is not what its digest says", where=f"{folder}: {digest}", next_step=_COPY_AGAIN
        )
    return content


def _bytes(path: Path, folder: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"this is no complete OCI layout: {path.name}: {error.strerror}",
            where=str(folder),
            next_step="name the folder that holds index.json and blobs",
        ) from error
    if len(content) > _MAX_BYTES:
        raise PinError(
            f"a description in the layout exceeds {_MAX_BYTES // 1024**2} MiB",
            where=str(path),
            next_step=_COPY_AGAIN,
        )
    return content


_Model = TypeVar("_Model", bound=BaseModel)


def _parsed(model: type[_Model], content: bytes | str) -> _Model:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise PinError(
            f"an image's description is malformed: {reason(error)}", next_step=_COPY_AGAIN
        ) from error
