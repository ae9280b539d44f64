"""Which servers can be reached, and what does not work without them."""

from collections.abc import Iterator
from dataclasses import dataclass

from evaldock.diagnosis.contacts import Contact, Kind, Trouble
from evaldock.diagnosis.facts import Facts
from evaldock.diagnosis.finding import Finding, lack, note, ok


@dataclass(frozen=True, kw_only=True)
class _Use:
    """What a kind of server is for. login: where its credentials are kept."""

    what: str
    without: str
    fix: str
    login: str


_USES: dict[Kind, _Use] = {
    "index": _Use(
        what="package index",
        without="evaldock build gets no Python packages, benchmark data and models that are packages",
        fix="pip config set global.index-url URL, or: export HTTPS_PROXY=…",
        login="put its login into your .netrc",
    ),
    "mirror": _Use(
        what="Debian mirror",
        without="the base image cannot be made and missing Debian packages not installed",
        fix="name a mirror in apt's sources, or a proxy: Acquire::http::Proxy",
        login="put its login into apt's auth.conf",
    ),
    "registry": _Use(
        what="image registry",
        without="published images cannot be pulled; images built here work",
        fix="add a reachable one under mirrors: in registry.yaml, or: evaldock build",
        login="docker login HOST, or: skopeo login HOST",
    ),
    "hub": _Use(
        what="model and data hub",
        without="models and data that are named by hub id cannot be fetched; local paths work",
        fix="export HF_ENDPOINT=…, or name local paths",
        login="export HF_TOKEN=…",
    ),
}
_TROUBLES: dict[Trouble, str] = {
    "name": "its name is not known here",
    "refused": "nobody listens there",
    "silent": "no answer in time",
    "certificate": "its certificate is not trusted here",
    "proxy": "the proxy in the way does not let it through",
    "broken": "the address is none that can be asked",
    "settings": "its settings cannot be read",
    "folder": "no such folder",
}
_AUTHORITY = "export SSL_CERT_FILE=… (your organisation's PEM file)"


def findings(facts: Facts) -> Iterator[Finding]:
    """Judge every contact; a machine without a network is no fault in itself."""
    if facts.contacts is None:
        yield note("network", "nobody was asked (--offline)")
        return
    for contact in facts.contacts:
        yield judged(contact)
    kinds = {contact.target.kind for contact in facts.contacts}
    if "registry" not in kinds:
        yield note("image registry", "registry.yaml names none; images are built here")
    if "hub" not in kinds:
        yield note("model and data hub", "HF_ENDPOINT is not set; nobody was asked")


def judged(contact: Contact) -> Finding:
    """Return what one contact means."""
    use = _USES[contact.target.kind]
    what = f"{use.what} {contact.target.host}".rstrip()
    match contact:
        case Contact(trouble="folder" | "settings" | "broken" as trouble):
            return lack(what, _TROUBLES[trouble], use.fix)
        case Contact(trouble="certificate"):
            return lack(what, f"{_TROUBLES['certificate']}: {use.without}", _AUTHORITY)
        case Contact(trouble=str(trouble)):
            return note(what, f"{_TROUBLES[trouble]}: {use.without}", use.fix)
        case Contact(status=None):
            return ok(what, "the folder is there")
        case Contact(status=int(status)):
            return _answered(what, use, status, is_registry=contact.target.kind == "registry")
    raise AssertionError(contact)


def _answered(what: str, use: _Use, status: int, *, is_registry: bool) -> Finding:
    if status == 401 and is_registry:  # a registry says so to everybody, then names where to log in
        return ok(what, "answers, and asks for a login where one is needed")
    if status in {401, 403, 407}:
        return lack(what, f"refuses you (HTTP {status}): {use.without}", use.login)
    if status >= 500 or (status == 404 and use is _USES["mirror"]):
        return note(what, f"answers with HTTP {status}: {use.without}", use.fix)
    return ok(what, "answers")
