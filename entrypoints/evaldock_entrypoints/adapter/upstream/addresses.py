"""One address of an endpoint: its URLs, and the way there."""

import base64
import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from requests.utils import get_environ_proxies, select_proxy
from yarl import URL

_PLAIN = "/?=&%:@!$'()*+,;~-._[]"
_KEPT = 1024
Way = Literal["plain", "library"]


class Address:
    """A base URL up to and with /v1. The way there (proxy, TLS) is looked up once, not for each request.

    way: which exchanger asks it. proxy_login_before: goes to the proxy with CONNECT; proxy_login_beside: with
    the request itself, where a proxy is given that.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._beside = self.base_url.removesuffix("/v1")
        self._urls: dict[tuple[str, bool], URL] = {}
        self._openings: dict[tuple[str, str, bool], str] = {}
        url = URL(self.base_url)
        self.host, self.port = url.raw_host or "", url.port or 0
        self.tls = _tls() if url.scheme == "https" else None
        self.proxy, login = _proxy_of(url)
        self.proxy_login_before = login if self.tls is not None else None
        self.proxy_login_beside: Mapping[str, str] = {} if self.tls is not None or login is None else login
        self.way: Way = "plain" if self.tls is None and self.proxy is None else "library"

    def url(self, path: str, *, is_beside: bool) -> URL:
        """Return the URL of a path, which is not quoted anew."""
        known = self._urls.get((path, is_beside))
        if known is None:
            known = URL((self._beside if is_beside else self.base_url) + quote(path, _PLAIN), encoded=True)
            if len(self._urls) < _KEPT:
                self._urls[path, is_beside] = known
        return known

    def opening(self, method: str, path: str, *, is_beside: bool) -> str:
        """Return the first lines of a request, the name of the host among them."""
        key = (method, path, is_beside)
        known = self._openings.get(key)
        if known is None:
            url = self.url(path, is_beside=is_beside)
            known = f"{method} {url.raw_path_qs} HTTP/1.1\r\nHost: {url.host_port_subcomponent}\r\n"
            if len(self._openings) < _KEPT:
                self._openings[key] = known
        return known


def _proxy_of(url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    """Return the site's proxy and the header of the login there."""
    found = select_proxy(str(url), get_environ_proxies(str(url)))
    if not found:
        return None, None
    proxy = URL(found if "://" in found else f"http://{found}")
    if proxy.user is None:
        return proxy, None
    pair = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
    return proxy.with_user(None), {"Proxy-Authorization": f"Basic {pair}"}


def _tls() -> ssl.SSLContext:
    """Trust what OpenSSL does (SSL_CERT_FILE included), and the bundle that requests would."""
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        is_folder = Path(bundle).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": bundle})
    return context
