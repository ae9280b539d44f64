"""What the built images are, proven on their bytes and in a real engine."""

import gzip
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import pytest
from tests.containers.supply.sites import Site, image_config, run_in_engine

from evaldock.supply.host import running_engine
from evaldock.supply.layout import blob_path, layer_digests, stored_image
from evaldock.supply.load import load_image
from evaldock.supply.lock import LockedImage
from evaldock.supply.mounts import mounts_below
from evaldock_entrypoints.contract.errors import PinError

pytestmark = [pytest.mark.containers, pytest.mark.slow]


def layer_with(store: Path, image: LockedImage, member: str) -> str:
    """Return the digest of the layer that holds this file."""
    for digest in layer_digests(store, image.digest):
        with tarfile.open(blob_path(store, digest)) as layer:
            if member in layer.getnames():
                return digest
    raise AssertionError(f"no layer holds {member}")


def test_two_sites_build_the_same_digests(site: Site, other_site: Site) -> None:
    first, second = site.build("tiny"), other_site.build("tiny")

    assert {name: image.digest for name, image in first.items()} == {
        name: image.digest for name, image in second.items()
    }
    assert set(first) == {"base", "entrypoints", "tiny"}


def test_entrypoints_are_the_same_layer_in_every_image(site: Site) -> None:
    images = site.build("tiny")
    member = "opt/evaldock/src/evaldock_entrypoints/__init__.py"

    assert layer_with(site.store, images["tiny"], member) == layer_with(
        site.store, images["entrypoints"], member
    )


def test_unchanged_inputs_build_nothing(site: Site) -> None:
    first = site.build("tiny")
    times = {path: path.stat().st_mtime_ns for path in site.store.rglob("*")}

    assert site.build("tiny") == first
    assert {path: path.stat().st_mtime_ns for path in site.store.rglob("*")} == times


def test_edited_parser_makes_one_small_new_layer(site: Site) -> None:
    before = site.build("tiny")["tiny"]
    (site.checkout / "harnesses/tiny/results.py").write_text("# parses otherwise\n", encoding="utf-8")

    after = site.build("tiny")["tiny"]

    new = set(layer_digests(site.store, after.digest)) - set(layer_digests(site.store, before.digest))
    assert len(new) == 1
    assert blob_path(site.store, new.pop()).stat().st_size < 10_000


def test_labels_name_tasks_and_base(site: Site) -> None:
    images = site.build("tiny")
    inner = image_config(site, images["tiny"])

    labels = inner["Labels"]

    assert json.loads(labels["io.evaldock.harness"])["tasks"][0]["name"] == "sums"
    assert labels["org.opencontainers.image.description"] == 'It\'s a $mall "1"'
    assert labels["org.opencontainers.image.base.digest"] == images["base"].digest
    assert inner["User"] == "65532:65532"


def test_index_password_reaches_the_build_and_stays_in_no_byte_of_the_image(other_site: Site) -> None:
    with index_that_wants_a_password() as index:
        url = f"http://user:canary-5ecret@127.0.0.1:{index.server_port}/simple"
        lock = other_site.checkout / "harnesses/tiny/requirements.lock"
        lock.write_text(lock.read_text(encoding="utf-8") + "# built anew\n", encoding="utf-8")
        images = other_site.build("tiny", more={"UV_EXTRA_INDEX_URL": url})

    assert index.logins
    blobs = [path for path in (other_site.store / "blobs" / "sha256").iterdir() if path.is_file()]
    assert len(blobs) > len(images)
    assert not [path for path in blobs if b"canary-5ecret" in content(path)]


def test_runs_as_an_unknown_user_with_a_read_only_root(site: Site) -> None:
    image = site.build("tiny")["tiny"]
    program = (
        "import getpass, os, sys, json, pathlib, six, time;"
        "pathlib.Path.home().joinpath('x').write_text('x');"
        "print(json.dumps([os.getuid(), getpass.getuser(), sys.prefix, time.tzname[0],"
        " pathlib.Path('/opt/data/made-with').read_text() == six.__version__]))"
    )

    output = run_in_engine(site, image, ["python", "-c", program])

    assert json.loads(output) == [12345, "evaldock", "/opt/harness", "UTC", True]


def test_login_shell_finds_the_commands_without_the_images_environment(site: Site) -> None:
    image = site.build("tiny")["tiny"]

    output = run_in_engine(site, image, ["env", "-i", "/bin/sh", "-lc", "command -v run_eval"])

    assert output.strip() == "/opt/evaldock/commands/run_eval"


def test_damaged_layer_is_refused_as_a_pin_error(site: Site) -> None:
    image = site.build("tiny")["tiny"]
    layer = blob_path(site.store, layer_digests(site.store, image.digest)[-1])
    good = layer.read_bytes()
    layer.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    try:
        with site.active(), running_engine(report=lambda _: None) as engine:
            remove(engine, image)
            with pytest.raises(PinError, match="damaged"):
                load_image(image, engine)
    finally:
        layer.write_bytes(good)


def test_builds_leave_nothing_mounted(site: Site) -> None:
    site.build("tiny")

    assert mounts_below(site.folder) == []


def test_store_knows_every_image_by_name(site: Site) -> None:
    for image in site.build("tiny").values():
        assert stored_image(site.store, image.layout_name).image_id == image.image_id


def remove(engine: str, image: LockedImage) -> None:
    client = docker.DockerClient(base_url=engine)
    try:
        client.images.remove(image.image_id, force=True)
    except docker.errors.ImageNotFound:
        pass
    finally:
        client.close()


def content(blob: Path) -> bytes:
    raw = blob.read_bytes()
    return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw


class EmptyIndex(ThreadingHTTPServer):
    """An index that asks for a login and holds nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        self.logins: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: EmptyIndex

    def do_GET(self) -> None:
        login = self.headers.get("Authorization")
        if login:
            self.server.logins.append(login)
        self.send_response(404 if login else 401)
        self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def index_that_wants_a_password() -> Iterator[EmptyIndex]:
    with EmptyIndex() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
