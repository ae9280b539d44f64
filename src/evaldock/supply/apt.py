"""The caller's own Debian mirror and apt settings."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SUITE = "bookworm"
DEBIAN = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"

# What a site sets so that its mirror can be reached. Certificate files are the build's own (see secrets.py).
_PASSED_ON = re.compile(
    r"^Acquire::(https?::(?!CaInfo|CaPath|SslCert|SslKey)|Check-Valid-Until |Check-Date |Retries |ForceIPv)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class AptSettings:
    """Mirror addresses and transport options. Both may hold credentials."""

    main_uri: str = DEBIAN
    security_uri: str = SECURITY
    options: tuple[str, ...] = ()  # lines of apt.conf
    auth: str = ""  # lines of auth.conf

    @property
    def sources(self) -> str:
        """The sources.list that images are built from: main and security of our distribution."""
        return (
            f"deb {self.main_uri} {SUITE} main\n"
            f"deb {self.main_uri} {SUITE}-updates main\n"
            f"deb {self.security_uri} {SUITE}-security main\n"
        )


def read_apt_settings(etc_apt: Path = Path("/etc/apt")) -> AptSettings:
    """Read the Debian mirror from apt's source files, its transport options and its logins."""
    entries = list(_entries(etc_apt))
    return AptSettings(
        main_uri=_mirror(entries, security=False) or DEBIAN,
        security_uri=_mirror(entries, security=True) or SECURITY,
        options=tuple(_options()),
        auth="".join(_read(path) for path in [etc_apt / "auth.conf", *_glob(etc_apt / "auth.conf.d", "*")]),
    )


@dataclass(frozen=True, kw_only=True)
class _Entry:
    uri: str
    suite: str
    components: tuple[str, ...]


def _mirror(entries: Iterable[_Entry], *, security: bool) -> str | None:
    """Return the first Debian mirror; vendors' repositories have other paths or components."""
    for entry in entries:
        path = urlsplit(entry.uri).path.rstrip("/")
        is_security = entry.suite.endswith("-security")
        wanted = path.endswith("debian-security") if security else path.endswith("/debian")
        if "main" in entry.components and is_security == security and wanted:
            return entry.uri
    return None


def _entries(etc_apt: Path) -> Iterator[_Entry]:
    parts = etc_apt / "sources.list.d"
    for path in [etc_apt / "sources.list", *_glob(parts, "*.list")]:
        yield from _one_line_entries(_read(path))
    for path in _glob(parts, "*.sources"):
        yield from _deb822_entries(_read(path))


def _one_line_entries(text: str) -> Iterator[_Entry]:
    for line in text.splitlines():
        words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
        if len(words) >= 3 and words[0] == "deb":
            yield _Entry(uri=words[1], suite=words[2], components=tuple(words[3:]))


def _deb822_entries(text: str) -> Iterator[_Entry]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n\s*\n", "\n".join(lines)):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield _Entry(uri=uri, suite=suite, components=tuple(fields.get("components", "").split()))


def _fields(stanza: str) -> Mapping[str, str]:
    joined = re.sub(r"\n[ \t]+", " ", stanza)
    pairs = (line.partition(":") for line in joined.splitlines() if ":" in line)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}


def _options() -> Iterator[str]:
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:  # no apt here: nothing to pass on
        return
    yield from (line for line in dump.stdout.splitlines() if _PASSED_ON.match(line))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _glob(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []
