"""Debian's docker-registry on a loopback port, with or without logins."""

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from evaldock.supply.host import ensure_packages

USER, PASSWORD = "me", "canary-5ecret"
_HTPASSWD = f"{USER}:$2b$04$kmJlY0G9p9GRRnLSxPCKhO.0eqhlhd8cBmdObww1.9oB59MJwJcDy\n"
_SETTINGS = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""
_LOGINS = "auth: {{htpasswd: {{realm: tests, path: {path}}}}}\n"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A registry without TLS."""

    address: str
    blobs: Path

    def blob(self, digest: str) -> Path:
        """Return the file that holds a blob or a manifest."""
        name = digest.removeprefix("sha256:")
        return self.blobs / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    @contextmanager
    def tampered(self, digest: str) -> Iterator[None]:
        """Serve other bytes under a manifest's digest for as long as the block runs."""
        path = self.blob(digest)
        good = path.read_bytes()
        path.write_bytes(good + b"\n")
        try:
            yield
        finally:
            path.write_bytes(good)


@contextmanager
def serving(folder: Path, *, logins: bool = False) -> Iterator[Registry]:
    """Serve what lies in the folder, which may hold nothing yet."""
    ensure_packages(["docker-registry"], report=lambda _: None)
    address = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    settings, passwords = folder / "config.yml", folder / "htpasswd"
    passwords.write_text(_HTPASSWD, encoding="utf-8")
    text = _SETTINGS.format(folder=folder / "blobs", address=address)
    settings.write_text(text + (_LOGINS.format(path=passwords) if logins else ""), encoding="utf-8")
    with (folder / "log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(settings)], stdout=log, stderr=log)
        try:
            wait_for(f"http://{address}/v2/")
            yield Registry(address=address, blobs=folder / "blobs")
        finally:
            process.terminate()
            process.wait(timeout=30)


def login_file(folder: Path, address: str) -> Path:
    """Write a docker configuration with the login of a registry, and return its folder."""
    secret = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {address: {"auth": secret}}}), encoding="utf-8")
    return folder


def insecure(folder: Path, *addresses: str) -> Path:
    """Write the registries.conf of a caller who says that these have no TLS; evaldock has no flag for it."""
    path = folder / "registries.conf"
    tables = (f'[[registry]]\nlocation = "{address}"\ninsecure = true\n' for address in addresses)
    path.write_text("\n".join(tables), encoding="utf-8")
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    """Wait until a registry answers, with a page or with the wish for a login."""
    deadline_s = time.monotonic() + 20
    while True:
        try:
            assert requests.get(url, timeout=5).status_code in (200, 401)
        except requests.ConnectionError:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        else:
            return
