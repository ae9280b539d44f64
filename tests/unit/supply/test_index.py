"""The caller's package-index settings."""

from pathlib import Path

import pytest

from evaldock.supply.index import PYPI, IndexSettings, local_folder, read_index_settings


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose configuration files are all below tmp_path."""
    return {
        "HOME": str(tmp_path),
        "VIRTUAL_ENV": str(tmp_path / "venv"),
    }


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def read(environ: dict[str, str]) -> IndexSettings:
    return read_index_settings(environ, Path(environ["HOME"]) / "etc")


def test_public_index_where_nothing_is_configured(home: dict[str, str], tmp_path: Path) -> None:
    home["PIP_CONFIG_FILE"] = "/dev/null"

    settings = read(home | {"UV_CONFIG_FILE": str(tmp_path / "none.toml")})

    assert settings.index_url == PYPI
    assert settings.extra_index_urls == ()
    assert not settings.no_index


def test_user_file_wins_over_system_file_key_by_key(home: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / "etc/xdg/pip/pip.conf", "[global]\nindex-url = https://site/simple\nfind-links = /site\n"
    )
    write(tmp_path / ".config/pip/pip.conf", "[global]\nindex-url = https://user/simple\n")

    settings = read(home)

    assert settings.index_url == "https://user/simple"
    assert settings.find_links == ("/site",)


def test_explicit_file_wins_over_user_file_and_variable_over_both(
    home: dict[str, str], tmp_path: Path
) -> None:
    write(
        tmp_path / ".pip/pip.conf",
        "[global]\nindex-url = https://user/simple\nextra-index-url = https://a https://b\n",
    )
    explicit = write(tmp_path / "explicit.conf", "[install]\nindex-url = https://explicit/simple\n")

    settings = read(home | {"PIP_CONFIG_FILE": str(explicit), "PIP_EXTRA_INDEX_URL": "https://c"})

    assert settings.index_url == "https://explicit/simple"
    assert settings.extra_index_urls == ("https://c",)


def test_uv_variables_win_over_pip(home: dict[str, str]) -> None:
    settings = read(
        home | {"PIP_INDEX_URL": "https://pip/simple", "UV_DEFAULT_INDEX": "site=https://uv/simple?x=1"}
    )

    assert settings.index_url == "https://uv/simple?x=1"


def test_uv_file_with_named_indexes(home: dict[str, str], tmp_path: Path) -> None:
    write(
        tmp_path / ".config/uv/uv.toml",
        '[[index]]\nurl = "https://extra"\n[[index]]\nurl = "https://main"\ndefault = true\n'
        '[[index]]\nurl = "https://only-named"\nexplicit = true\n',
    )

    settings = read(home)

    assert settings.index_url == "https://main"
    assert settings.extra_index_urls == ("https://extra",)


def test_certificates_prefer_pips_own_setting(home: dict[str, str], tmp_path: Path) -> None:
    own, general = write(tmp_path / "own.crt", "own"), write(tmp_path / "general.crt", "general")

    assert read(home | {"PIP_CERT": str(own), "SSL_CERT_FILE": str(general)}).ca_file == own
    assert read(home | {"SSL_CERT_FILE": str(general)}).ca_file == general


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        ("file:///srv/wheel%20house/simple", Path("/srv/wheel house/simple")),
        ("/srv/wheels", Path("/srv/wheels")),
        ("https://host/simple", None),
    ],
)
def test_local_folder(address: str, folder: Path | None) -> None:
    assert local_folder(address) == folder
