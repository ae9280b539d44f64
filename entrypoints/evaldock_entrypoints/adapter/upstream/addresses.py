"""One address of an endpoint: its URLs, and the way there."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import aiohttp
from requests.utils import get_environ_proxies, select_proxy
from yarl import URL

_PLAIN = "/?=&%:@!$'()*+,;~-._[]"
_KEPT = 1024


class Address:
    """A base URL up to and with /v1. The way there (proxy, TLS) is looked up once, not for each request."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url.rstrip("/")
        self._beside = self.base_url.removesuffix("/v1")
        self._urls: dict[tuple[str, bool], URL] = {}
        self.proxy, credentials = _proxy_of(URL(self.base_url))
        is_tunnel = self.base_url.startswith("https:")
        self.proxy_headers = credentials if is_tunnel else None  # go with CONNECT
        self.headers: Mapping[str, str] = {} if is_tunnel or credentials is None else credentials
        self.tls = _tls() if is_tunnel else True

    def url(self, path: str, *, is_beside: bool) -> URL:
        """Return the URL of a path, which is not quoted anew."""
        known = self._urls.get((path, is_beside))
        if known is None:
            known = URL((self._beside if is_beside else self.base_url) + quote(path, _PLAIN), encoded=True)
            if len(self._urls) < _KEPT:
                self._urls[path, is_beside] = known
        return known


def _proxy_of(url: URL) -> tuple[URL | None, Mapping[str, str] | None]:
    found = select_proxy(str(url), get_environ_proxies(str(url)))
    if not found:
        return None, None
    proxy = URL(found if "://" in found else f"http://{found}")
    if proxy.user is None:
        return proxy, None
    credentials = aiohttp.encode_basic_auth(proxy.user, proxy.password or "")
    return proxy.with_user(None), {"Proxy-Authorization": credentials}


def _tls() -> ssl.SSLContext:
    """Trust what OpenSSL does (SSL_CERT_FILE included), and the bundle that requests would."""
    context = ssl.create_default_context()
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if bundle:
        is_folder = Path(bundle).is_dir()
        context.load_verify_locations(**{"capath" if is_folder else "cafile": bundle})
    return context
