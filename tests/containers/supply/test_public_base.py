"""A base image from a registry by digest: refused, fetched, remembered."""

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from tests.containers.supply.sites import Site, image_config, new_site, run_in_engine

from evaldock.supply import buildah
from evaldock.supply.apt import read_apt_settings
from evaldock.supply.bootstrap import make_root
from evaldock.supply.build import BUILD_PACKAGES
from evaldock.supply.host import ensure_packages
from evaldock.supply.lock import read_lock
from evaldock.supply.steps import Steps
from evaldock_entrypoints.contract.errors import ExecutionError, ExitCode, PinError, UsageError

pytestmark = [pytest.mark.containers, pytest.mark.slow]

# Debian as a registry has it: without what our base adds.
DOCKERFILE = "FROM scratch\nADD root.tar /\nRUN dpkg --purge tini\n"
REGISTRY_SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry on a loopback port that holds one Debian image."""

    address: str
    folder: Path
    debian: str  # REGISTRY/REPOSITORY@digest

    def manifest_file(self) -> Path:
        digest = self.debian.rpartition(":")[2]
        return self.folder / "docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Serve a bootstrapped Debian root file system over plain HTTP."""
    ensure_packages((*BUILD_PACKAGES, "docker-registry"), report=lambda _: None)
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    settings = folder / "config.yml"
    settings.write_text(REGISTRY_SETTINGS.format(folder=folder / "blobs", port=port), encoding="utf-8")
    with (folder / "log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/v2/")
            digest = publish(folder, f"127.0.0.1:{port}/library/debian")
            yield Registry(
                address=f"127.0.0.1:{port}",
                folder=folder / "blobs",
                debian=f"127.0.0.1:{port}/library/debian@{digest}",
            )
        finally:
            process.terminate()
            process.wait(timeout=30)


@pytest.fixture(autouse=True)
def plain_http_on_loopback(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's own registries.conf says which registry has no TLS; evaldock has no flag for it."""
    settings = tmp_path_factory.mktemp("registries") / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n', encoding="utf-8")
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))


@pytest.fixture
def fresh_site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A site where nothing was built."""
    with new_site(tmp_path_factory, checkout) as made:
        yield made


def test_tag_is_a_usage_error(fresh_site: Site, registry: Registry) -> None:
    with pytest.raises(UsageError) as caught:
        fresh_site.build("base", base=f"{registry.address}/library/debian:12")

    assert caught.value.exit_code == ExitCode.USAGE


def test_digest_that_the_registry_lacks_fails_the_build(fresh_site: Site, registry: Registry) -> None:
    with pytest.raises(ExecutionError, match="manifest unknown") as caught:
        fresh_site.build("base", base=f"{registry.address}/library/debian@sha256:{'0' * 64}")

    assert caught.value.exit_code == ExitCode.EXECUTION


def test_other_bytes_under_the_digest_are_a_pin_error(fresh_site: Site, registry: Registry) -> None:
    manifest = registry.manifest_file()
    good = manifest.read_bytes()
    manifest.write_bytes(good + b"\n")
    try:
        with pytest.raises(PinError, match="other bytes") as caught:
            fresh_site.build("base", base=registry.debian)
    finally:
        manifest.write_bytes(good)

    assert caught.value.exit_code == ExitCode.PIN
    with fresh_site.active():
        assert read_lock().images == {}


def test_registry_without_tls_is_refused_unless_the_caller_allows_it(
    fresh_site: Site, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF")

    with pytest.raises(ExecutionError, match="HTTP response to HTTPS client"):
        fresh_site.build("base", base=registry.debian)


def test_image_on_a_public_base_runs_and_its_lineage_is_locked(fresh_site: Site, registry: Registry) -> None:
    images = fresh_site.build("tiny", base=registry.debian)

    output = run_in_engine(fresh_site, images["tiny"], ["python", "-c", "import six; print(six.__version__)"])

    assert output.strip() == "1.17.0"
    assert images["base"].public_base == registry.debian
    assert images["base"].base_digest == registry.debian.partition("@")[2]
    assert images["tiny"].base_digest == images["entrypoints"].base_digest == images["base"].digest
    assert (
        image_config(fresh_site, images["base"])["Labels"]["org.opencontainers.image.base.name"]
        == registry.debian
    )


def test_later_build_stays_on_the_public_base(fresh_site: Site, registry: Registry) -> None:
    first = fresh_site.build("base", base=registry.debian)["base"]

    later = fresh_site.build("entrypoints")

    assert later["base"] == first
    assert later["entrypoints"].base_digest == first.digest


def publish(folder: Path, repository: str) -> str:
    """Build a Debian image, push it and return its digest."""
    steps = Steps(log_path=folder / "publish.log", report=lambda _: None)
    storage = buildah.Storage(folder=folder / "storage")
    context = folder / "context"
    context.mkdir()
    make_root(steps, read_apt_settings(), context / "root.tar")
    (context / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    try:
        buildah.build(storage, steps, context=context, name="localhost/debian", build_args={}, labels={})
        target = [f"--digestfile={folder}/digest", "localhost/debian", f"docker://{repository}:12"]
        steps.run([*storage.argv(), "push", "--tls-verify=false", *target])
    finally:
        buildah.release(storage)
    return (folder / "digest").read_text(encoding="ascii").strip()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    deadline_s = time.monotonic() + 20
    while True:
        try:
            return requests.get(url, timeout=5).raise_for_status()
        except requests.ConnectionError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
