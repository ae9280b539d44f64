"""Machines with data, cache and configuration of their own, and what is asked of images built there."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from evaldock.supply.build import build_images
from evaldock.supply.host import running_engine, stop_own_engine
from evaldock.supply.layout import blob_path
from evaldock.supply.load import load_image
from evaldock.supply.lock import LockedImage


@dataclass(frozen=True, kw_only=True)
class Site:
    """One machine as far as evaldock can tell: its own data, cache and configuration."""

    folder: Path
    checkout: Path

    @contextmanager
    def active(self, more: Mapping[str, str] | None = None) -> Iterator[None]:
        """Make it the current one for as long as the block runs."""
        values = {
            "XDG_DATA_HOME": str(self.folder / "data"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            **(more or {}),
        }
        before = {name: os.environ.get(name) for name in values}
        os.environ.update(values)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})

    def build(
        self, *names: str, base: str | None = None, more: Mapping[str, str] | None = None
    ) -> dict[str, LockedImage]:
        """Build the images here."""
        with self.active(more):
            return build_images(names, base=base, root=self.checkout, report=lambda _: None)

    @property
    def store(self) -> Path:
        return self.folder / "data" / "evaldock" / "images"


@contextmanager
def new_site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """Give a fresh site and take everything of it away again."""
    site = Site(folder=tmp_path_factory.mktemp("site"), checkout=checkout)
    try:
        yield site
    finally:
        with site.active():
            stop_own_engine()
        shutil.rmtree(site.folder, ignore_errors=True)


def image_config(site: Site, image: LockedImage) -> dict[str, Any]:
    """Return the part of an image's config that containers get: user, labels, environment."""
    config: dict[str, Any] = json.loads(blob_path(site.store, image.image_id).read_text(encoding="utf-8"))
    inner: dict[str, Any] = config["config"]
    return inner


def run_in_engine(site: Site, image: LockedImage, argv: list[str]) -> str:
    """Run argv in the image as uid 12345, read-only, without network or rights; returns what it printed."""
    with site.active(), running_engine(report=lambda _: None) as engine:
        client = docker.DockerClient(base_url=engine)
        container = client.containers.create(
            load_image(image, engine),
            argv,
            user="12345:12345",
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )
        try:
            container.start()
            status = container.wait(timeout=60)["StatusCode"]
            output = container.logs().decode()
        finally:
            container.remove(force=True)
            client.close()
    assert status == 0, output
    return output
