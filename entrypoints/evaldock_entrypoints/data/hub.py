"""Fetches data sets from a Hugging Face hub or a site's mirror of one, as files and without its library.

Protocol: https://huggingface.co/docs/hub/api. Of it `/api/datasets/ID/revision/REV`, which lists the files,
and `/datasets/ID/resolve/REV/PATH`, which is one of them; the ETag of a large one is its SHA-256. Nothing of
a data set is ever run: loading scripts are left behind.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from evaldock_entrypoints.contract.errors import EndpointError, ExecutionError, PinError, UsageError
from evaldock_entrypoints.data.manifest import Entry, replace_entries, sha256_of

DEFAULT_REVISION = "main"
_DATA = (".parquet", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".arrow", ".gz", ".zst", ".xz", ".zip")
_CARD = "README.md"  # its header says which files are which configuration and split
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIMEOUT_S = (10, 60)  # to connect, and between two pieces
_CHUNK_BYTES = 1024**2
_RETRIES = Retry(
    total=5,
    connect=2,
    backoff_factor=0.5,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=("GET",),
    respect_retry_after_header=True,
)


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A hub at an address such as https://huggingface.co. token: sent as a bearer token, and to it alone."""

    address: str
    token: str | None = field(default=None, repr=False)

    def fetch(
        self,
        dataset: str,
        folder: Path,
        *,
        revision: str = DEFAULT_REVISION,
        report: Callable[[str], None] = lambda _: None,
    ) -> list[Entry]:
        """Put a data set's files below `folder` and into its manifest; files that are there stay.

        Return its entries: dataset, path, sha256, bytes, license, source. Raises UsageError, EndpointError
        (absent, gated, unreachable), PinError (other bytes than the hub's own hash), ExecutionError (disk).
        """
        if _ID.fullmatch(dataset) is None:
            raise UsageError(f'"{dataset}" is no data set\'s name', next_step="write OWNER/NAME, or NAME")
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
            session.mount("https://", HTTPAdapter(max_retries=_RETRIES))
            found = self._described(session, dataset, revision)
            names = list(_wanted(found, dataset))
            source = f"{self.address.rstrip('/')}/datasets/{dataset} at {found['sha']}"
            entries = []
            for number, name in enumerate(names, start=1):
                report(f"{dataset}: {name} ({number} of {len(names)})")
                path = folder / dataset / name
                digest = self._file(session, dataset, found["sha"], name, path)
                entries.append(
                    {
                        "dataset": dataset,
                        "path": f"{dataset}/{name}",
                        "sha256": digest,
                        "bytes": path.stat().st_size,
                        "license": _license(found),
                        "source": source,
                    }
                )
        replace_entries(folder, dataset, entries)
        return entries

    def _described(self, session: requests.Session, dataset: str, revision: str) -> dict[str, Any]:
        with self._get(session, f"api/datasets/{dataset}/revision/{quote(revision, safe='')}") as answer:
            try:
                found: dict[str, Any] = answer.json()
                _ = found["sha"], found["siblings"]
            except (ValueError, KeyError, TypeError) as error:
                raise EndpointError(
                    "this is no hub: its answer describes no data set",
                    where=answer.url,
                    next_step="check data.hf_endpoint",
                ) from error
        return found

    def _file(self, session: requests.Session, dataset: str, sha: str, name: str, path: Path) -> str:
        with self._get(session, f"datasets/{dataset}/resolve/{sha}/{quote(name)}", stream=True) as answer:
            etag = (answer.headers.get("x-linked-etag") or answer.headers.get("etag") or "").strip('W/"')
            wanted = etag if _SHA256.fullmatch(etag) else None
            if wanted is not None and path.is_file() and sha256_of(path) == wanted:
                return wanted
            digest = _written(answer, path)
        if wanted is not None and digest != wanted:
            path.unlink()
            raise PinError(
                f"the hub sent other bytes than it says: sha256 {digest}, not {wanted}",
                where=f"{dataset}/{name}",
                next_step="fetch again; if it stays so the mirror is damaged",
            )
        return digest

    def _get(self, session: requests.Session, route: str, *, stream: bool = False) -> requests.Response:
        url = f"{self.address.rstrip('/')}/{route}"
        headers = {"Accept-Encoding": "identity"}  # a hash is of the file, not of how it travelled
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            answer = session.get(url, headers=headers, timeout=_TIMEOUT_S, stream=stream)
        except requests.RequestException as error:
            raise EndpointError(
                f"the hub cannot be reached: {_cause(error)}", where=url, next_step="check data.hf_endpoint"
            ) from error
        if answer.status_code == requests.codes.ok:
            return answer
        answer.close()
        raise _refused(answer.status_code, url)


def _wanted(found: dict[str, Any], dataset: str) -> Iterator[str]:
    """Yield the files to fetch; raises UsageError for a data set that is only a program."""
    names = [str(sibling["rfilename"]) for sibling in found["siblings"]]
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise EndpointError(
                f'the hub names a file outside the data set: "{name}"',
                where=dataset,
                next_step="tell whoever runs the hub; nothing of it was fetched",
            )
    data = [name for name in names if name.endswith(_DATA)]
    if not data:
        raise UsageError(
            f"{dataset} has no data files at this revision, only a loading script, which is never run",
            where=", ".join(names[:5]),
            next_step="fetch its converted revision: --revision refs/convert/parquet",
        )
    yield from (name for name in names if name == _CARD or name in data)


def _license(found: dict[str, Any]) -> str | None:
    card = found.get("cardData")
    named = card.get("license") if isinstance(card, dict) else None
    return ", ".join(map(str, named)) if isinstance(named, list) else named


def _written(answer: requests.Response, path: Path) -> str:
    """Write an answer's body; return its SHA-256. Raises EndpointError, ExecutionError."""
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for chunk in answer.iter_content(_CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except requests.RequestException as error:
        raise EndpointError(
            f"the hub broke off: {_cause(error)}",
            where=answer.url,
            next_step="fetch again: what is there stays",
        ) from error
    except OSError as error:
        raise ExecutionError(
            f"the data cannot be written: {error.strerror}",
            where=str(path),
            next_step="make room, or choose another folder",
        ) from error
    return digest.hexdigest()


def _refused(status: int, url: str) -> EndpointError:
    steps = {
        401: "set the variable that data.hf_token_name names to a token that may read it",
        403: "accept the data set's terms on the hub with the token's account",
        404: "check the name and the revision; a private data set needs a token",
    }
    return EndpointError(
        f"the hub answers with status {status}", where=url, next_step=steps.get(status, "try again later")
    )


def _cause(error: Exception) -> str:
    return type(getattr(error, "reason", None) or error).__name__
