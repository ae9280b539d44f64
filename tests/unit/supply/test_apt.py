"""The caller's Debian mirror."""

from pathlib import Path

from evaldock.supply.apt import DEBIAN, SECURITY, read_apt_settings


def test_public_mirror_where_there_is_no_apt_folder(tmp_path: Path) -> None:
    settings = read_apt_settings(tmp_path)

    assert (settings.main_uri, settings.security_uri) == (DEBIAN, SECURITY)


def test_site_mirror_from_deb822_sources_and_no_vendor_or_disabled_ones(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (parts / "a-vendor.sources").write_text(
        "Types: deb\nURIs: https://vendor/debian-tools\nSuites: stable\nComponents: main\n", encoding="utf-8"
    )
    (parts / "b-old.sources").write_text(
        "Enabled: no\nTypes: deb\nURIs: http://old/debian\nSuites: bookworm\nComponents: main\n",
        encoding="utf-8",
    )
    (parts / "debian.sources").write_text(
        "Types: deb deb-src\n# a remark\nURIs: http://mirror/debian\nSuites: trixie\n trixie-updates\n"
        "Components: main\n"
        "\nTypes: deb\nURIs: http://mirror/debian-security\nSuites: trixie-security\nComponents: main\n",
        encoding="utf-8",
    )
    (parts / "gone.sources.disabled").write_text("Types: deb\nURIs: http://gone/debian\n", encoding="utf-8")

    settings = read_apt_settings(tmp_path)

    assert settings.sources.splitlines() == [
        "deb http://mirror/debian bookworm main",
        "deb http://mirror/debian bookworm-updates main",
        "deb http://mirror/debian-security bookworm-security main",
    ]


def test_one_line_sources_with_options_and_remarks(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://commented/debian bookworm main\n"
        "deb-src http://src/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://mirror/pool/debian/ bookworm main contrib # ours\n",
        encoding="utf-8",
    )

    assert read_apt_settings(tmp_path).main_uri == "http://mirror/pool/debian/"


def test_logins_are_read_from_both_places(tmp_path: Path) -> None:
    (tmp_path / "auth.conf").write_text("machine a login u password p\n", encoding="utf-8")
    (tmp_path / "auth.conf.d").mkdir()
    (tmp_path / "auth.conf.d" / "b.conf").write_text("machine b login u password p\n", encoding="utf-8")

    assert read_apt_settings(tmp_path).auth.count("machine") == 2
