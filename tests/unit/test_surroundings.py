"""What a plan is told of the machine."""

import os
from pathlib import Path

from evaldock.surroundings import model_stamp, way_out


def test_proxies_are_named_and_not_quoted() -> None:
    way = way_out({"https_proxy": "http://me:secret@proxy.example:1", "NO_PROXY": "a.example", "PATH": "/"})
    assert way.proxy_names == ("https_proxy", "NO_PROXY")
    assert not way.proxy_is_local
    assert "secret" not in repr(way)


def test_a_proxy_of_this_machine_is_told_from_others() -> None:
    for address in ("http://127.0.0.1:3128", "localhost:3128", "http://[::1]:1"):
        assert way_out({"HTTP_PROXY": address}).proxy_is_local
    assert way_out({"HTTP_PROXY": "", "NO_PROXY": "x"}).proxy_names == ()


def test_a_file_of_authorities_is_handed_over(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("x", encoding="ascii")
    assert way_out({"REQUESTS_CA_BUNDLE": str(path)}).certificates == str(path)
    assert (
        way_out({"SSL_CERT_FILE": str(tmp_path / "none"), "CURL_CA_BUNDLE": str(tmp_path)}).certificates
        is None
    )


def test_a_models_stamp_changes_with_its_files(tmp_path: Path) -> None:
    file, folder = tmp_path / "m.gguf", tmp_path / "m"
    file.write_bytes(b"1")
    folder.mkdir()
    (folder / "config.json").write_bytes(b"1")
    stamps = {model_stamp(str(file)), model_stamp(str(folder))}
    os.utime(file, ns=(1, 1))
    (folder / "config.json").write_bytes(b"22")
    stamps |= {model_stamp(str(file)), model_stamp(str(folder))}
    assert len(stamps) == 4
    assert model_stamp("org/name") == model_stamp(None) == ""
