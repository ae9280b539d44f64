"""A base image from a registry by digest: refused, fetched, remembered."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.containers.supply.registries import Registry, insecure, serving
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


@dataclass(frozen=True, kw_only=True)
class Debian:
    """A registry that holds one Debian image."""

    registry: Registry
    reference: str  # REGISTRY/REPOSITORY@digest

    @property
    def repository(self) -> str:
        return self.reference.partition("@")[0]


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    """Serve a bootstrapped Debian root file system over plain HTTP."""
    ensure_packages(BUILD_PACKAGES, report=lambda _: None)
    folder = tmp_path_factory.mktemp("registry")
    with serving(folder) as registry:
        repository = f"{registry.address}/library/debian"
        yield Debian(registry=registry, reference=f"{repository}@{publish(folder, repository)}")


@pytest.fixture(autouse=True)
def plain_http_on_loopback(debian: Debian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's own registries.conf says which registry has no TLS."""
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, debian.registry.address)))


@pytest.fixture
def fresh_site(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[Site]:
    """A site where nothing was built."""
    with new_site(tmp_path_factory, checkout) as made:
        yield made


def test_tag_is_a_usage_error(fresh_site: Site, debian: Debian) -> None:
    with pytest.raises(UsageError) as caught:
        fresh_site.build("base", base=f"{debian.repository}:12")

    assert caught.value.exit_code == ExitCode.USAGE


def test_digest_that_the_registry_lacks_fails_the_build(fresh_site: Site, debian: Debian) -> None:
    with pytest.raises(ExecutionError, match="manifest unknown") as caught:
        fresh_site.build("base", base=f"{debian.repository}@sha256:{'0' * 64}")

    assert caught.value.exit_code == ExitCode.EXECUTION


def test_other_bytes_under_the_digest_are_a_pin_error(fresh_site: Site, debian: Debian) -> None:
    with (
        debian.registry.tampered(debian.reference.partition("@")[2]),
        pytest.raises(PinError, match="other bytes") as caught,
    ):
        fresh_site.build("base", base=debian.reference)

    assert caught.value.exit_code == ExitCode.PIN
    with fresh_site.active():
        assert read_lock().images == {}


def test_registry_without_tls_is_refused_unless_the_caller_allows_it(
    fresh_site: Site, debian: Debian, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF")

    with pytest.raises(ExecutionError, match="HTTP response to HTTPS client"):
        fresh_site.build("base", base=debian.reference)


def test_image_on_a_public_base_runs_and_its_lineage_is_locked(fresh_site: Site, debian: Debian) -> None:
    images = fresh_site.build("tiny", base=debian.reference)

    output = run_in_engine(fresh_site, images["tiny"], ["python", "-c", "import six; print(six.__version__)"])

    assert output.strip() == "1.17.0"
    assert images["base"].public_base == debian.reference
    assert images["base"].base_digest == debian.reference.partition("@")[2]
    assert images["tiny"].base_digest == images["entrypoints"].base_digest == images["base"].digest
    assert (
        image_config(fresh_site, images["base"])["Labels"]["org.opencontainers.image.base.name"]
        == debian.reference
    )


def test_later_build_stays_on_the_public_base(fresh_site: Site, debian: Debian) -> None:
    first = fresh_site.build("base", base=debian.reference)["base"]

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
