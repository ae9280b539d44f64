"""The caller's settings as build secrets and read-only volumes: mounted while a step runs, never stored."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaldock.supply.apt import AptSettings
from evaldock.supply.index import IndexSettings, local_folder
from evaldock_entrypoints.contract.errors import UsageError

_INDEX_ROOT = "/run/evaldock/index"
_SLOTS = 8  # mount points that images/base/Dockerfile provides


@dataclass(frozen=True, kw_only=True)
class BuildSecrets:
    """Files to mount below /run/secrets by name, and local index folders to mount read-only."""

    files: Mapping[str, Path]
    volumes: Mapping[str, Path]  # path in the build → folder here

    def secret_argv(self) -> list[str]:
        """Return buildah's flags for the secrets; they hold paths, never a value."""
        return [f"--secret=id={name},src={path}" for name, path in self.files.items()]

    def volume_argv(self) -> list[str]:
        """Return buildah's flags for the local folders."""
        return [f"--volume={folder}:{target}:ro" for target, folder in self.volumes.items()]


@contextmanager
def build_secrets(index: IndexSettings, apt: AptSettings) -> Iterator[BuildSecrets]:
    """Write the secrets into a private temporary folder for as long as the block runs."""
    slots = _Slots()
    contents = {
        **_index_files(index, slots.url, "/run/secrets"),
        "apt.conf": _apt_conf(apt),
        "apt.list": apt.sources,
        "apt.auth": apt.auth,
    }
    with tempfile.TemporaryDirectory(prefix="evaldock-secrets-") as folder:
        yield BuildSecrets(files=_written(contents, Path(folder)), volumes=slots.volumes)


@contextmanager
def local_secrets(index: IndexSettings) -> Iterator[Path]:
    """Write what build scripts read about package indexes into a private folder, to run them right here."""
    with tempfile.TemporaryDirectory(prefix="evaldock-secrets-") as folder:
        _written(_index_files(index, str, folder), Path(folder))
        yield Path(folder)


def _index_files(index: IndexSettings, seen_as: Callable[[str], str], folder: str) -> dict[str, str]:
    return {
        "uv.toml": _uv_toml(index, seen_as),
        "pip.conf": _pip_conf(index, seen_as, folder),
        "ca.crt": index.ca_file.read_text(encoding="utf-8") if index.ca_file else "",
        "netrc": index.netrc.read_text(encoding="utf-8") if index.netrc else "",
    }


def _written(contents: Mapping[str, str], folder: Path) -> dict[str, Path]:
    files = {name: folder / name for name in contents}
    for name, path in files.items():
        path.touch(mode=0o600)
        path.write_text(contents[name], encoding="utf-8")
    return files


def uv_environment(index: IndexSettings, folder: Path) -> dict[str, str]:
    """Return the variables that make uv here use the caller's settings; its file is written into folder."""
    config = folder / "uv.toml"
    config.touch(mode=0o600)
    config.write_text(_uv_toml(index, str), encoding="utf-8")
    files = {"SSL_CERT_FILE": index.ca_file, "NETRC": index.netrc}
    return {"UV_CONFIG_FILE": str(config)} | {name: str(path) for name, path in files.items() if path}


class _Slots:
    """Assigns build-time mount points to local folders."""

    def __init__(self) -> None:
        self.volumes: dict[str, Path] = {}

    def url(self, address: str) -> str:
        """Return the address as the build sees it: the same for a remote one, a mounted one for a folder."""
        folder = local_folder(address)
        if folder is None:
            return address
        # The pages of a local index link to ../../files, beside the index itself: mount what holds both.
        root = folder.parent if folder.name == "simple" and folder.parent != folder.parent.parent else folder
        below = folder.relative_to(root).as_posix()
        return f"file://{self._slot(root.resolve())}" + ("" if below == "." else f"/{below}")

    def _slot(self, root: Path) -> str:
        for target, mounted in self.volumes.items():
            if mounted == root:
                return target
        if len(self.volumes) == _SLOTS:
            raise UsageError(
                f"the package-index settings name more than {_SLOTS} local folders",
                where="pip's or uv's configuration",
                next_step="merge some of the find-links folders",
            )
        target = f"{_INDEX_ROOT}/{len(self.volumes)}"
        self.volumes[target] = root
        return target


def _uv_toml(index: IndexSettings, seen_as: Callable[[str], str]) -> str:
    """Return the uv.toml that makes uv look where pip would look on the caller's machine."""
    # pip takes the best file of all indexes, uv stops at the first; with hash-locked files pip's way is safe.
    lines = [f"index-url = {json.dumps(seen_as(index.index_url))}", 'index-strategy = "unsafe-best-match"']
    lists = {
        "extra-index-url": [seen_as(url) for url in index.extra_index_urls],
        "find-links": [seen_as(url).removeprefix("file://") for url in index.find_links],
        "allow-insecure-host": list(index.trusted_hosts),
    }
    lines += [f"{key} = {json.dumps(values)}" for key, values in lists.items() if values]
    return "\n".join([*lines, *(["no-index = true"] if index.no_index else [])]) + "\n"


def _pip_conf(index: IndexSettings, seen_as: Callable[[str], str], folder: str) -> str:
    """Return the same settings as pip reads them."""
    lists = {
        "extra-index-url": [seen_as(url) for url in index.extra_index_urls],
        "find-links": [seen_as(url) for url in index.find_links],
        "trusted-host": list(index.trusted_hosts),
    }
    lines = ["[global]", f"cert = {folder}/ca.crt", f"index-url = {seen_as(index.index_url)}"]
    lines += [f"{key} = {' '.join(values)}" for key, values in lists.items() if values]
    return "\n".join([*lines, *(["no-index = true"] if index.no_index else [])]) + "\n"


def _apt_conf(apt: AptSettings) -> str:
    ours = [
        'Dir::Etc::SourceList "/run/secrets/apt.list";',
        'Dir::Etc::SourceParts "-";',
        'Acquire::https::CaInfo "/run/secrets/ca.crt";',
        'Dir::Etc::netrc "/run/secrets/apt.auth";',
        # apt's own unprivileged user could not read secrets.
        'APT::Sandbox::User "root";',
        'Acquire::Languages "none";',
    ]
    ca = (
        []
        if any("CaInfo" in line for line in apt.options)
        else ['Acquire::https::CaInfo "/run/secrets/ca.crt";']
    )
    return "\n".join([*apt.options, *ca, *ours]) + "\n"
