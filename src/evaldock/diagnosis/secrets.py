"""Which secrets are at hand: names of variables and files, never a value and never a length."""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, Remedy, lack, note, ok

VARIABLES = (
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "HF_TOKEN",
    "LEPTON_API_TOKEN",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "NGC_API_KEY",
    "NVIDIA_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
    "WANDB_API_KEY",
)


def findings(_facts: Facts) -> Iterator[Finding]:
    """Look at the environment and at the usual files."""
    yield from variables(os.environ)
    for path in credential_files(os.environ):
        yield from file_mode(path)


def variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield which well-known variables are set, and those that cannot be right."""
    there = [name for name in VARIABLES if environ.get(name)]
    others = [name for name in VARIABLES if not environ.get(name)]
    yield note(
        "keys in the environment",
        f"set: {', '.join(there) or 'none'}; not set: {', '.join(others) or 'none'}",
    )
    for name in there:
        if environ[name] != environ[name].strip():
            fix = f'export {name}="$(printf %s "${name}" | xargs)"'
            yield lack(f"key {name}", "has blanks or a line end around it; endpoints refuse that", fix)


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """Return where programs keep logins, those that exist."""
    home = Path(environ.get("HOME") or Path.home())
    docker = Path(environ.get("DOCKER_CONFIG") or home / ".docker")
    hub = Path(environ.get("HF_HOME") or home / ".cache/huggingface")
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    candidates = [
        Path(environ.get("NETRC") or home / ".netrc"),
        docker / "config.json",
        Path(environ.get("REGISTRY_AUTH_FILE") or runtime / "containers/auth.json"),
        Path(environ.get("HF_TOKEN_PATH") or hub / "token"),
        home / ".ngc/config",
        home / ".kube/config",
    ]
    return [path for path in dict.fromkeys(candidates) if _is_file(path)]


def file_mode(path: Path) -> Iterator[Finding]:
    """Yield whether others can read a file of logins."""
    try:
        state = path.stat()
    except OSError:
        return
    mode = stat.S_IMODE(state.st_mode)
    what, found = f"logins in {path}", f"there, mode {mode:04o}"
    if not mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IWGRP | stat.S_IWOTH):
        yield ok(what, found)
        return
    command = ("chmod", "600", str(path))
    is_own = state.st_uid == os.getuid() and not path.is_symlink()
    yield lack(
        what,
        f"{found}: others can read it",
        " ".join(command),
        remedy=Remedy(commands=(command,)) if is_own else None,
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that is not ours to look into
        return False
