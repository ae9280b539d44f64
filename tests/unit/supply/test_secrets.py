"""Settings as build secrets and volumes."""

import tomllib
from pathlib import Path

import pytest

from evaldock.supply.apt import AptSettings
from evaldock.supply.index import IndexSettings
from evaldock.supply.secrets import build_secrets
from evaldock_entrypoints.contract.errors import UsageError


def test_password_stands_in_a_private_file_and_in_no_argument() -> None:
    index = IndexSettings(index_url="https://user:canary@host/simple")

    with build_secrets(index, AptSettings(auth="machine h password canary\n")) as secrets:
        file = secrets.files["uv.toml"]
        assert "canary" in file.read_text(encoding="utf-8")
        assert file.stat().st_mode & 0o077 == 0
        assert not [flag for flag in secrets.secret_argv() + secrets.volume_argv() if "canary" in flag]
    assert not file.exists()


def test_local_index_is_mounted_with_the_files_beside_it(tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (tmp_path / "mirror" / "simple").mkdir(parents=True)
    index = IndexSettings(extra_index_urls=(f"file://{tmp_path}/mirror/simple",), find_links=(str(wheels),))

    with build_secrets(index, AptSettings()) as secrets:
        settings = tomllib.loads(secrets.files["uv.toml"].read_text(encoding="utf-8"))
        volumes = dict(secrets.volumes)

    assert settings["extra-index-url"] == ["file:///run/evaldock/index/0/simple"]
    assert settings["find-links"] == ["/run/evaldock/index/1"]
    assert volumes == {"/run/evaldock/index/0": tmp_path / "mirror", "/run/evaldock/index/1": wheels}


def test_more_local_folders_than_mount_points_are_refused(tmp_path: Path) -> None:
    folders = tuple(str(tmp_path / str(number)) for number in range(9))

    with (
        pytest.raises(UsageError, match="more than 8"),
        build_secrets(IndexSettings(find_links=folders), AptSettings()),
    ):
        pass
