"""What a plan must know of this machine beyond the document: its way out, and which model lies at a path."""

import os
from collections.abc import Mapping
from pathlib import Path

from evaldock.compiler import WayOut
from evaldock_entrypoints.contract.endpoint import is_local

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def way_out(environ: Mapping[str, str]) -> WayOut:
    """Return the proxies and the trusted authorities that this process's own requests go by."""
    proxies = [name for name in _both_cases(_PROXIES) if environ.get(name)]
    exceptions = [name for name in _both_cases(("NO_PROXY",)) if environ.get(name)] if proxies else []
    return WayOut(
        proxy_names=(*proxies, *exceptions),
        proxy_is_local=any(is_local(_with_scheme(environ[name])) for name in proxies),
        certificates=_certificates(environ),
    )


def model_stamp(model_path: str | None) -> str:
    """Return a text that changes when the model at this path does: from sizes and times, without reading it.

    Empty where the path is none of this machine.
    """
    root = Path(model_path) if model_path else None
    if root is None or not root.exists():
        return ""
    files = [root] if root.is_file() else [path for path in root.iterdir() if path.is_file()]
    found = [path.stat() for path in files]
    return f"{sum(each.st_size for each in found)}:{max((each.st_mtime_ns for each in found), default=0)}"


def _both_cases(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(spelling for name in names for spelling in (name, name.lower()))


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"http://{address}"


def _certificates(environ: Mapping[str, str]) -> str | None:
    """Return the file of trusted authorities that a variable names; a folder of them is not handed over."""
    named = (environ.get(name) for name in _CERTIFICATES)
    return next((os.path.abspath(path) for path in named if path and Path(path).is_file()), None)  # noqa: PTH100
