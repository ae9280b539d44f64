"""Why a registry did not give an image, read from what engines and skopeo say."""

import re
from dataclasses import dataclass
from typing import Literal

from evaldock.visible_text import one_line

Kind = Literal["other bytes", "not authorised", "not there", "no answer"]

# Messages of dockerd 20.10 to 28, podman 4 and skopeo 1.9 to 1.18; the first that fits counts.
_SIGNS: tuple[tuple[Kind, str], ...] = (
    (
        "other bytes",
        r"manifest verification failed|(does|did) not match|digest mismatch|filesystem layer verif",
    ),
    (
        "not authorised",
        r"unauthorized|denied|authentication required|no basic auth|forbidden|invalid username",
    ),
    ("not there", r"not found|manifest unknown|name unknown|blob unknown|no such image|does not exist"),
)
_SHOWN = 300
_LOG_PREFIX = re.compile(r'^time="[^"]*" level=\w+ msg=')  # of skopeo


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One reference that was tried, and what came of it."""

    reference: str
    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.reference}: {self.kind} ({self.text})"


def refusal(reference: str, said: str) -> Refusal:
    """Return what a message means; whatever is not known is no answer."""
    text = one_line(_LOG_PREFIX.sub("", said.strip()))[-_SHOWN:]
    kinds = (kind for kind, sign in _SIGNS if re.search(sign, said, re.IGNORECASE))
    return Refusal(reference=reference, kind=next(kinds, "no answer"), text=text)
