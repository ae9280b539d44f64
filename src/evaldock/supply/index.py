"""The caller's own package-index settings, read from pip's and uv's configuration."""

import configparser
import os
import shlex
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PYPI = "https://pypi.org/simple"


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Where packages come from. URLs may hold credentials: never log, never put on a command line."""

    index_url: str = PYPI
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()  # URLs or local folders
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    ca_file: Path | None = None
    netrc: Path | None = None


def read_index_settings(environ: Mapping[str, str] | None = None, etc: Path = Path("/etc")) -> IndexSettings:
    """Merge pip's configuration files, PIP_*, uv's configuration file and UV_* (later ones win)."""
    environ = os.environ if environ is None else environ
    values = (
        _pip_files(environ, etc) | _pip_variables(environ) | _uv_file(environ, etc) | _uv_variables(environ)
    )
    return IndexSettings(
        index_url=_first(values.get("index-url")) or PYPI,
        extra_index_urls=tuple(values.get("extra-index-url", ())),
        find_links=tuple(values.get("find-links", ())),
        no_index=_first(values.get("no-index")).lower() in {"1", "true", "yes", "on"},
        trusted_hosts=tuple(values.get("trusted-host", ())),
        ca_file=_ca_file(environ, values),
        netrc=_netrc(environ),
    )


def local_folder(url: str) -> Path | None:
    """Return the folder that a file:// URL or a plain path means, None for a remote one."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme in {"http", "https"} else Path(url).expanduser()


_Values = dict[str, list[str]]
_KEYS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert")


def _pip_files(environ: Mapping[str, str], etc: Path) -> _Values:
    values: _Values = {}
    for path in _pip_paths(environ, etc):
        parser = configparser.RawConfigParser()
        parser.read(path, encoding="utf-8")
        for section in ("global", "install"):
            if parser.has_section(section):
                values |= {
                    key: parser.get(section, key).split() for key in _KEYS if parser.has_option(section, key)
                }
    return values


def _pip_paths(environ: Mapping[str, str], etc: Path) -> list[Path]:
    """Return pip's configuration files, weakest first (pip's own order)."""
    override = environ.get("PIP_CONFIG_FILE", "")
    if override == os.devnull:
        return []
    home = Path(environ.get("HOME", str(Path.home())))
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    system = [Path(base) / "pip/pip.conf" for base in environ.get("XDG_CONFIG_DIRS", f"{etc}/xdg").split(":")]
    user = [home / ".pip/pip.conf", config / "pip/pip.conf"]
    own = [Path(environ.get("VIRTUAL_ENV", sys.prefix)) / "pip.conf"]
    return [*system, etc / "pip.conf", *user, *own, *([Path(override)] if override else [])]


def _pip_variables(environ: Mapping[str, str]) -> _Values:
    names = {key: f"PIP_{key.upper().replace('-', '_')}" for key in _KEYS}
    return {key: environ[name].split() for key, name in names.items() if environ.get(name)}


def _uv_file(environ: Mapping[str, str], etc: Path) -> _Values:
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", str(Path.home()))) / ".config")
    values: _Values = {}
    explicit = environ.get("UV_CONFIG_FILE")
    for path in [Path(explicit)] if explicit else [etc / "uv/uv.toml", config / "uv/uv.toml"]:
        if path.is_file():
            values |= _from_uv_toml(tomllib.loads(path.read_text(encoding="utf-8")))
    return values


def _from_uv_toml(document: Mapping[str, Any]) -> _Values:
    scopes = [document, document.get("pip", {})]
    values: _Values = {}
    for scope in scopes:
        values |= {key: _listed(scope[key]) for key in _KEYS if key in scope and key != "cert"}
        if "allow-insecure-host" in scope:
            values["trusted-host"] = _listed(scope["allow-insecure-host"])
    indexes = document.get("index", [])
    default = [index["url"] for index in indexes if index.get("default")]
    extra = [index["url"] for index in indexes if not index.get("default") and not index.get("explicit")]
    return (
        values | ({"index-url": default} if default else {}) | ({"extra-index-url": extra} if extra else {})
    )


def _uv_variables(environ: Mapping[str, str]) -> _Values:
    sources = {
        "index-url": ("UV_INDEX_URL", "UV_DEFAULT_INDEX"),
        "extra-index-url": ("UV_EXTRA_INDEX_URL", "UV_INDEX"),
        "find-links": ("UV_FIND_LINKS",),
        "no-index": ("UV_NO_INDEX",),
        "trusted-host": ("UV_INSECURE_HOST",),
    }
    return {
        key: [_unnamed(word) for word in shlex.split(environ[name].replace(",", " "))]
        for key, names in sources.items()
        for name in names
        if environ.get(name)
    }


def _unnamed(index: str) -> str:
    """Strip uv's NAME= prefix of an index."""
    name, _, url = index.partition("=")
    return url if url and "/" not in name else index


def _ca_file(environ: Mapping[str, str], values: _Values) -> Path | None:
    named = [environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")]
    system = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
    return _existing([_first(values.get("cert")), *named, *system])


def _netrc(environ: Mapping[str, str]) -> Path | None:
    return _existing([environ.get("NETRC", ""), str(Path(environ.get("HOME", "/nonexistent")) / ".netrc")])


def _existing(candidates: Iterable[str]) -> Path | None:
    return next((Path(path) for path in candidates if path and Path(path).is_file()), None)


def _first(values: list[str] | None) -> str:
    return values[0] if values else ""


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
