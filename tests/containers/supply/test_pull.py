"""Images of registries: pulled by digest through mirrors, and their tasks listed without pulling."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest
from tests.containers.supply.registries import Registry, free_port, insecure, login_file, serving
from tests.kit.cli import Ended, evaldock
from tests.kit.plans import plan_of

from evaldock.engines.select import engine_for
from evaldock.pins import ImagePin
from evaldock.plan import Unit
from evaldock.registry import Registry as Catalogue
from evaldock.supply.catalogue import HARNESS_LABEL
from evaldock.supply.host import running_engine
from evaldock.supply.pull import pull_images
from evaldock_entrypoints.contract.errors import ExecutionError, PinError

pytestmark = pytest.mark.containers

LABEL = {
    "name": "tiny",
    "version": "1",
    "tasks": [{"name": "sums", "endpoint_types": ["chat"], "capabilities": ["judge"], "description": "adds"}],
}
ROWS = [("tiny.sums", "adds", ["chat"], ["judge"])]


@dataclass(frozen=True, kw_only=True)
class Place:
    """An engine, a registry and the one image that stands there."""

    host: str
    client: docker.DockerClient
    registry: Registry
    folder: Path  # of the registry
    digest: str
    image_id: str

    def pin(self, repository: str | None = None, *, digest: str | None = None) -> ImagePin:
        repository = repository or f"{self.registry.address}/evaldock/tiny"
        return ImagePin(
            name="tiny",
            version=None,
            reference=f"{repository}@{digest or self.digest}",
            digest=digest or self.digest,
            image_id=None,
            origin="registry",
        )

    @contextlib.contextmanager
    def copied(self, folder: Path, *, logins: bool = False) -> Iterator[Registry]:
        """Serve a copy of the registry; to an engine, which keeps manifests, it is another one."""
        copy = folder / "registry"
        shutil.copytree(self.folder, copy)
        with serving(copy, logins=logins) as registry:
            yield registry

    def pull(self, pin: ImagePin, *mirrors: tuple[str, str]) -> tuple[dict[str, str], list[str]]:
        """Return image IDs and what was reported."""
        said: list[str] = []
        tree = {"mirrors": [{"from": start, "to": to} for start, to in mirrors]}
        ids = pull_images([pin], self.host, report=said.append, registry=Catalogue.model_validate(tree))
        return ids, said


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Build one image, push it, and serve it."""
    folder = tmp_path_factory.mktemp("registry")
    with running_engine(report=lambda _: None) as host, serving(folder) as registry:
        client = docker.DockerClient(base_url=host)
        try:
            image_id, digest = published(client, tmp_path_factory.mktemp("context"), registry)
            yield Place(
                host=host, client=client, registry=registry, folder=folder, digest=digest, image_id=image_id
            )
            forget(client, image_id)
        finally:
            client.close()


@pytest.fixture(autouse=True)
def engine_without_the_image(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins with an engine that holds nothing of it, and a user without logins or settings."""
    forget(place.client, place.image_id)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", place.host)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(insecure(tmp_path, place.registry.address)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def published(client: docker.DockerClient, context: Path, registry: Registry) -> tuple[str, str]:
    """Build an image with the label of a harness, push it; return image ID and manifest digest."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /Dockerfile\n", encoding="utf-8")
    repository = f"{registry.address}/evaldock/tiny"
    image, _ = client.images.build(
        path=str(context), tag=f"{repository}:1", labels={HARNESS_LABEL: json.dumps(LABEL)}
    )
    lines = list(client.api.push(repository, tag="1", stream=True, decode=True))
    assert not [line for line in lines if "error" in line]
    return str(image.id), next(line["aux"]["Digest"] for line in lines if "aux" in line)


def forget(client: docker.DockerClient, image_id: str) -> None:
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.remove(image_id, force=True)


def site_mirrors(config: Path, *mirrors: tuple[str, str]) -> None:
    """Write the site's file below a configuration folder."""
    site = config / "evaldock" / "registry.yaml"
    site.parent.mkdir()
    tree = {"mirrors": [{"from": start, "to": to} for start, to in mirrors]}
    site.write_text(json.dumps(tree), encoding="utf-8")


def nowhere() -> str:
    """Return the address of a registry that is down."""
    return f"127.0.0.1:{free_port()}"


def test_an_image_is_pulled_by_digest_once(place: Place) -> None:
    pin = place.pin()
    assert place.pull(pin) == ({pin.reference: place.image_id}, [f"pulling {pin.reference}"])
    assert place.pull(pin) == ({pin.reference: place.image_id}, [])


def test_an_image_that_the_engine_has_under_another_name_is_not_pulled(place: Place) -> None:
    place.pull(place.pin())
    pin = place.pin(f"{nowhere()}/x/y")
    assert place.pull(pin) == ({pin.reference: place.image_id}, [])


def test_a_mirror_that_is_down_is_passed_over(place: Place) -> None:
    pin = place.pin("evaldock/tiny")
    down = nowhere()
    ids, said = place.pull(
        pin, ("evaldock", f"{down}/evaldock"), ("evaldock", f"{place.registry.address}/evaldock")
    )
    assert ids == {pin.reference: place.image_id}
    assert said[0] == f"pulling {down}/evaldock/tiny@{place.digest}"
    assert said[1].startswith(f"{down}/evaldock/tiny@{place.digest}: no answer (")
    assert said[2:] == [f"pulling {place.registry.address}/evaldock/tiny@{place.digest}"]


def test_a_plans_image_comes_from_the_sites_mirror_and_its_container_is_of_the_pinned_bytes(
    place: Place, tmp_path: Path
) -> None:
    site_mirrors(tmp_path, ("evaldock", f"{place.registry.address}/evaldock"))
    endpoint = {"url": "http://localhost:1/v1", "model_id": "m"}
    plan = plan_of({"evaluation": {"tasks": ["gsm8k"]}, "target": {"api_endpoint": endpoint}})
    unit = Unit(name="tiny", role="evaluation", image=place.pin("evaldock/tiny"), argv=("x",), network="none")
    evaluation = replace(plan.evaluations[0], units=(unit,))
    pulled = replace(plan, run_id="pull-test", engine="docker", adapter=None, evaluations=(evaluation,))
    with engine_for(pulled, lambda _: None) as engine:
        engine.create(unit, user="1:1", network=None, alias=None, secrets={})
    container = place.client.containers.get("evaldock-pull-test-tiny")
    try:
        assert container.attrs["Image"] == place.image_id
    finally:
        container.remove(force=True)


def test_other_bytes_under_the_digest_are_a_pin_error(place: Place, tmp_path: Path) -> None:
    with place.copied(tmp_path) as copy, copy.tampered(place.digest):
        pin = place.pin(f"{copy.address}/evaldock/tiny")
        with pytest.raises(PinError, match="other bytes") as caught:
            place.pull(pin)
    assert f"{pin.reference}: other bytes (" in str(caught.value.where)


def test_a_tampered_mirror_is_reported_and_the_repository_serves(place: Place, tmp_path: Path) -> None:
    with place.copied(tmp_path) as mirror, mirror.tampered(place.digest):
        ids, said = place.pull(place.pin(), (place.registry.address, mirror.address))
    assert list(ids.values()) == [place.image_id]
    assert any("other bytes" in line for line in said)


def test_every_place_that_failed_is_named_with_its_reason(place: Place) -> None:
    missing = "sha256:" + "0" * 64
    pin, down = place.pin(digest=missing), nowhere()
    with pytest.raises(ExecutionError) as caught:
        place.pull(pin, (place.registry.address, down))
    first, second = str(caught.value.where).split("\n  ")
    assert first.startswith(f"{down}/evaldock/tiny@{missing}: no answer (")
    assert second.startswith(f"{pin.reference}: not there (")


def test_a_registry_with_logins_takes_the_users_own(place: Place, tmp_path: Path) -> None:
    with place.copied(tmp_path, logins=True) as private:
        pin = place.pin(f"{private.address}/evaldock/tiny")
        with pytest.raises(ExecutionError) as caught:
            place.pull(pin)
        assert f"{pin.reference}: not authorised (" in str(caught.value.where)
        assert "docker login" in str(caught.value.next_step)
        insecure(tmp_path, private.address)
        assert listed(f"docker://{pin.reference}", tmp_path).code == ExecutionError.exit_code
        login_file(tmp_path, private.address)
        assert place.pull(pin)[0] == {pin.reference: place.image_id}
        forget(place.client, place.image_id)
        assert_lists(f"docker://{pin.reference}", tmp_path)


def test_a_tag_is_pulled_where_it_is_let(place: Place) -> None:
    reference = f"{place.registry.address}/evaldock/tiny:1"
    pin = place.pin().model_copy(update={"origin": "unpinned", "reference": reference, "digest": None})
    assert place.pull(pin)[0] == {reference: place.image_id}
    assert place.pull(pin) == ({reference: place.image_id}, [])


def listed(reference: str, cwd: Path, *argv: str) -> Ended:
    return evaldock("ls", "tasks", "--image", reference, *argv, cwd=cwd, env=dict(os.environ))


def assert_lists(reference: str, cwd: Path) -> None:
    ended = listed(reference, cwd, "--json")
    assert ended.code == 0, ended.err
    keys = ("name", "description", "endpoint_types", "capabilities")
    assert [tuple(row[key] for key in keys) for row in ended.json] == ROWS


def test_tasks_are_listed_from_a_registry_without_pulling(place: Place, tmp_path: Path) -> None:
    assert_lists(f"docker://{place.registry.address}/evaldock/tiny:1", tmp_path)
    assert_lists(place.pin().reference, tmp_path)
    with pytest.raises(docker.errors.ImageNotFound):
        place.client.images.get(place.image_id)


def test_tasks_are_listed_through_a_mirror(place: Place, tmp_path: Path) -> None:
    site_mirrors(tmp_path, ("made-up.example", nowhere()), ("made-up.example", place.registry.address))
    assert_lists(f"made-up.example/evaldock/tiny@{place.digest}", tmp_path)


def test_tasks_are_listed_from_an_engines_image(place: Place, tmp_path: Path) -> None:
    place.pull(place.pin())
    place.client.images.get(place.image_id).tag("tiny-harness", "mine")
    assert_lists("docker-daemon:tiny-harness:mine", tmp_path)
    assert_lists("tiny-harness:mine", tmp_path)


def test_tasks_are_listed_from_a_layout_that_skopeo_wrote(place: Place, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    source = f"docker://{place.pin().reference}"
    subprocess.run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"oci:{layout}:v1"],
        check=True,
        timeout=60,
    )
    assert_lists(f"oci:{layout}", tmp_path)
    assert_lists(f"oci:{layout}:v1", tmp_path)
    ended = listed(f"oci:{layout}:v2", tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ":NAME, of: v1" in ended.err


@pytest.mark.parametrize(
    ("reference", "code"),
    [("docker-daemon:no-such-image:1", 7), ("oci:no-such-folder", 2), ("Not A Reference", 2)],
)
def test_an_image_that_cannot_be_read_is_an_error(
    place: Place, tmp_path: Path, reference: str, code: int
) -> None:
    ended = listed(reference, tmp_path)
    assert (ended.code, ended.out) == (code, ""), (place, ended.err)
