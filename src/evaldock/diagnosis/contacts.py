"""The servers that evaldock would fetch from, each asked once."""

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from configparser import Error as ConfigError
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import requests
import urllib3

from evaldock.registry import load_registry
from evaldock.supply.apt import SUITE, read_apt_settings
from evaldock.supply.index import IndexSettings, local_folder, read_index_settings
from evaldock_entrypoints.contract.errors import EvaldockError

CONTACT_TIMEOUT_S = 5.0

Trouble = Literal["name", "refused", "silent", "certificate", "proxy", "broken", "settings", "folder"]
Kind = Literal["index", "mirror", "registry", "hub"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An address of one kind. It may hold credentials: only `host` is ever shown."""

    kind: Kind
    url: str
    ca_file: Path | None = None
    verified: bool = True
    proxies: tuple[tuple[str, str], ...] = ()

    @property
    def host(self) -> str:
        """The host and port, or the local folder; nothing of what is no address."""
        try:
            return urlsplit(self.url).netloc.rpartition("@")[2] or self.url
        except ValueError:
            return ""


@dataclass(frozen=True, kw_only=True)
class Contact:
    """What became of asking. ahead_s: how far the server's clock is ahead of ours, where it said its time."""

    target: Target
    status: int | None = None
    trouble: Trouble | None = None
    ahead_s: float | None = None


def targets() -> list[Target | Contact]:
    """Return every address in the caller's settings; settings that cannot be read are a trouble at once."""
    kinds: dict[Kind, Callable[[], Iterator[Target]]] = {
        "index": _indexes,
        "mirror": _mirrors,
        "registry": _registries,
        "hub": _hubs,
    }
    return [entry for kind, find in kinds.items() for entry in _readable(kind, find)]


def contact(target: Target) -> Contact:
    """Ask for the headers of an address; a local folder is looked for."""
    try:
        if (folder := local_folder(target.url)) is not None:
            return Contact(target=target, trouble=None if folder.exists() else "folder")
        started_s = time.time()
        answer = _head(target)
        middle_s = (started_s + time.time()) / 2
    except (requests.RequestException, ValueError) as error:  # ValueError: an address that is none
        return Contact(target=target, trouble=_trouble(error))
    return Contact(target=target, status=answer.status_code, ahead_s=_ahead(answer, middle_s))


def _readable(kind: Kind, find: Callable[[], Iterator[Target]]) -> list[Target | Contact]:
    try:
        return list(dict.fromkeys(find()))
    except (OSError, ValueError, ConfigError, EvaldockError):
        return [Contact(target=Target(kind=kind, url=""), trouble="settings")]


def _indexes() -> Iterator[Target]:
    settings = read_index_settings()
    urls = [] if settings.no_index else [settings.index_url, *settings.extra_index_urls]
    for url in [*urls, *settings.find_links]:
        yield Target(kind="index", url=url, ca_file=settings.ca_file, verified=not _is_trusted(url, settings))


def _is_trusted(url: str, settings: IndexSettings) -> bool:
    parts = urlsplit(url)
    return bool({parts.hostname, parts.netloc.rpartition("@")[2]} & set(settings.trusted_hosts))


def _mirrors() -> Iterator[Target]:
    apt = read_apt_settings()
    proxies = tuple(_apt_proxies(apt.options))
    for uri, suite in ((apt.main_uri, SUITE), (apt.security_uri, f"{SUITE}-security")):
        if urlsplit(uri).scheme in {"http", "https"}:
            yield Target(kind="mirror", url=f"{uri.rstrip('/')}/dists/{suite}/InRelease", proxies=proxies)


def _apt_proxies(options: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for line in options:
        if match := re.match(r'Acquire::(https?)::Proxy "(?!DIRECT|none)([^"]+)"', line, re.IGNORECASE):
            yield match[1].lower(), match[2]


def _registries() -> Iterator[Target]:
    registry = load_registry()
    names = [entry.repository for entry in registry.images.values()]
    names += [f"{mirror.to_prefix}/" for mirror in registry.mirrors]
    ca_file = read_index_settings().ca_file
    for host in dict.fromkeys(filter(None, map(registry_host, names))):
        scheme = "http" if host.partition(":")[0] in {"localhost", "127.0.0.1"} else "https"
        yield Target(kind="registry", url=f"{scheme}://{host}/v2/", ca_file=ca_file)


def registry_host(repository: str) -> str | None:
    """Return the registry of a repository's name; None for a bare name, which no registry serves yet."""
    first, slash, _ = repository.partition("/")
    return first if slash and (first == "localhost" or set(first) & set(".:")) else None


def _hubs() -> Iterator[Target]:
    if address := os.environ.get("HF_ENDPOINT"):
        yield Target(kind="hub", url=address, ca_file=read_index_settings().ca_file)


def _head(target: Target) -> requests.Response:
    if not target.verified:  # by the caller's own trusted-host setting
        warnings.simplefilter("ignore", urllib3.exceptions.InsecureRequestWarning)
    with requests.Session() as session:
        session.proxies.update(target.proxies)
        return session.head(
            target.url,
            timeout=CONTACT_TIMEOUT_S,
            allow_redirects=False,
            verify=str(target.ca_file) if target.verified and target.ca_file else target.verified,
        )


def _ahead(answer: requests.Response, now_s: float) -> float | None:
    """Return the server's clock minus ours; a cached answer carries its age beside its date."""
    try:
        date_s = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        return date_s + float(answer.headers.get("Age", 0)) - now_s
    except (KeyError, ValueError):
        return None


def _trouble(error: Exception) -> Trouble:
    """Name the trouble. The error's text is not shown: it holds the address, and that a login or a token."""
    match error:
        case requests.exceptions.ProxyError():
            return "proxy"
        case requests.exceptions.SSLError():
            return "certificate"
        case requests.exceptions.Timeout():
            return "silent"
        case requests.exceptions.ConnectionError():
            return "name" if "NameResolutionError" in str(error) else "refused"
        case _:
            return "broken"
