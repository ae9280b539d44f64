"""Fetching data sets from a hub: the bytes, the manifest, and what a hub gets wrong."""

import hashlib
from pathlib import Path

import pytest
from tests.kit.hub import COMMIT, FakeHub, running_hub

from evaldock_entrypoints.contract.errors import EndpointError, EvaldockError, PinError, UsageError
from evaldock_entrypoints.data.hub import Hub
from evaldock_entrypoints.data.manifest import read_manifest

FILES = {
    "README.md": b"---\nconfigs: []\n---\n",
    "data/test.parquet": b"PAR1",
    "loader.py": b"import os",
    ".gitattributes": b"x",
}


def test_data_files_and_the_card_are_fetched_and_no_program(tmp_path: Path) -> None:
    with running_hub(FakeHub({"org/set": FILES})) as hub:
        entries = Hub(address=hub.address + "/").fetch("org/set", tmp_path)
    assert {path.name for path in (tmp_path / "org" / "set").rglob("*") if path.is_file()} == {
        "README.md",
        "test.parquet",
    }
    assert read_manifest(tmp_path) == entries
    found = {entry["path"]: entry for entry in entries}["org/set/data/test.parquet"]
    assert found["sha256"] == hashlib.sha256(b"PAR1").hexdigest()
    assert (found["license"], found["bytes"]) == ("mit", 4)
    assert found["source"].endswith(f"/datasets/org/set at {COMMIT}")


def test_a_token_is_sent_and_stands_nowhere(tmp_path: Path) -> None:
    hub = FakeHub({"org/set": FILES}, token="hf-secret")
    with running_hub(hub):
        with pytest.raises(EndpointError, match="401"):
            Hub(address=hub.address).fetch("org/set", tmp_path)
        client = Hub(address=hub.address, token="hf-secret")
        client.fetch("org/set", tmp_path)
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hf-secret" in content for content in left)
    assert "hf-secret" not in repr(client)


def test_a_busy_hub_is_asked_again_and_what_is_there_is_not_written_anew(tmp_path: Path) -> None:
    hub = FakeHub({"org/set": FILES}, busy=2)
    with running_hub(hub):
        Hub(address=hub.address).fetch("org/set", tmp_path)
        path = tmp_path / "org" / "set" / "data" / "test.parquet"
        before = path.stat().st_ino
        Hub(address=hub.address).fetch("org/set", tmp_path)
    assert path.stat().st_ino == before
    assert len(read_manifest(tmp_path)) == 2


def test_other_data_sets_keep_their_entries(tmp_path: Path) -> None:
    with running_hub(FakeHub({"org/set": FILES, "other": FILES})) as hub:
        for name in ("org/set", "other", "org/set"):
            Hub(address=hub.address).fetch(name, tmp_path)
    assert [entry["dataset"] for entry in read_manifest(tmp_path)] == ["other"] * 2 + ["org/set"] * 2


def test_other_bytes_than_the_hash_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with (
        running_hub(FakeHub({"org/set": FILES}, is_forged=True)) as hub,
        pytest.raises(PinError, match="other bytes"),
    ):
        Hub(address=hub.address).fetch("org/set", tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("name", "files", "kind", "said"),
    [
        ("org/none", FILES, EndpointError, "404"),
        ("org/set", {"loader.py": b"x"}, UsageError, "never run"),
        ("org/set", {"../../x.json": b"x"}, EndpointError, "outside"),
        ("org/set/more", FILES, UsageError, "no data set's name"),
        ("../etc", FILES, UsageError, "no data set's name"),
    ],
)
def test_what_cannot_be_fetched_is_refused(
    tmp_path: Path, name: str, files: dict[str, bytes], kind: type[EvaldockError], said: str
) -> None:
    with running_hub(FakeHub({"org/set": files})) as hub, pytest.raises(kind, match=said):
        Hub(address=hub.address).fetch(name, tmp_path)


def test_an_absent_hub_is_an_endpoint_error(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="cannot be reached"):
        Hub(address="http://127.0.0.1:9").fetch("org/set", tmp_path)
