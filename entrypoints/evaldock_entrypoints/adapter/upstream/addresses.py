"""One address of an endpoint: its URLs, and the way there."""

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from requests.utils import get_environ_proxies, select_proxy
from yarl import URL

_PLAIN = "/?=&%:@!$'()*+,;~-._[]"
_KEPT = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Tunnel:
    """What a proxy is asked for first, and who is behind it."""

    request: bytes
    host: str
    tls: ssl.SSLContext


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """Whom to connect to: the endpoint itself, or the site's proxy."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    tunnel: Tunnel | None = None


class Address:
    """A base URL up to and with /v1. The way there (proxy, TLS) is looked up once, not for each request."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._beside = self.base_url.removesuffix("/v1")
        self._openings: dict[tuple[str, str, bool], str] = {}
        url = URL(self.base_url)
        tls = _tls() if url.scheme == "https" else None
        proxy = _proxy_of(url)
        self._host = url.host_port_subcomponent
        self._plain_proxy = proxy if tls is None else None  # is given the request itself
        if proxy is None:
            self.way = Way(host=url.raw_host or "", port=url.port or 0, tls=tls)
        else:
            self.way = _way_through(proxy, url, tls)

    def url(self, path: str, *, is_beside: bool) -> URL:
        """Return the URL of a path, which is not quoted anew."""
        return URL((self._beside if is_beside else self.base_url) + quote(path, _PLAIN), encoded=True)

    def opening(self, method: str, path: str, *, is_beside: bool) -> str:
        """Return the first lines of a request, the name of the host among them."""
        key = (method, path, is_beside)
        known = self._openings.get(key)
        if known is None:
            known = self._opening(method, self.url(path, is_beside=is_beside))
            if len(self._openings) < _KEPT:
                self._openings[key] = known
        return known

    def _opening(self, method: str, url: URL) -> str:
        lines = f"HTTP/1.1\r\nHost: {self._host}\r\n"
        if self._plain_proxy is None:
            return f"{method} {url.raw_path_qs} {lines}"
        return f"{method} {url} {lines}{_credentials(self._plain_proxy)}"


def _way_through(proxy: URL, url: URL, tls: ssl.SSLContext | None) -> Way:
    tunnel = None
    if tls is not None:
        place = f"{url.host_subcomponent}:{url.port}"
        request = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{_credentials(proxy)}\r\n"
        tunnel = Tunnel(request=request.encode(), host=url.raw_host or "", tls=tls)
    own_tls = ssl.create_default_context() if proxy.scheme == "https" else None
    return Way(host=proxy.raw_host or "", port=proxy.port or 0, tls=own_tls, tunnel=tunnel)


def _proxy_of(url: URL) -> URL | None:
    found = select_proxy(str(url), get_environ_proxies(str(url)))
    if not found:
        return None
    return URL(found if "://" in found else f"http://{found}")


def _credentials(proxy: URL) -> str:
    if proxy.user is None:
        return ""
    pair = f"{proxy.user}:{proxy.password or ''}".encode()
    return f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"


def _tls() -> ssl.SSLContext:
    """Trust what OpenSSL does (SSL_CERT_FILE included), and the bundle that requests would."""
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        is_folder = Path(bundle).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": bundle})
    return context
