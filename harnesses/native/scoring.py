"""Is an answer right? One function for each scorer."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation

from items import Item, Scorer

_NUMBER = re.compile(
    r"(?:(?<![\w)])-)?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
)
_SAID_LETTER = re.compile(r"\banswer(?:\s+is)?\s*:?\s*[(\[*]*([A-Z])\b(?!['\w])", re.IGNORECASE)
_BARE_LETTER = re.compile(r"[\s(\[*]*([A-Z])(?:[\s)\]*.:,]*\Z|[)\]*.:]|[ \t]*\n)")
_SAID_ANSWER = re.compile(r"\banswer\s*:[\s*]*(.*)", re.IGNORECASE)
_FRINGE = " \t\r\n*_`\"'."


def judge(item: Item, text: str) -> tuple[str | None, bool]:
    """Return what was taken for the answer (None: nothing was), and whether it is right."""
    return _SCORERS[item.scorer](text, item)


def as_number(text: str) -> Decimal | None:
    """Return the number that the whole text is, None where it is none."""
    try:
        number = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _exact(text: str, item: Item) -> tuple[str | None, bool]:
    answer = text.strip()
    return answer, answer.casefold() in {target.strip().casefold() for target in item.targets}


def _contains(text: str, item: Item) -> tuple[str | None, bool]:
    folded = text.casefold()
    found = next((target for target in item.targets if target.casefold() in folded), None)
    return found, found is not None


def _regex(text: str, item: Item) -> tuple[str | None, bool]:
    found = next((match for match in (re.search(target, text) for target in item.targets) if match), None)
    return (found[0], True) if found else (None, False)


def _numeric(text: str, item: Item) -> tuple[str | None, bool]:
    """The last number of the text counts; 1,234 is one number, a minus after a digit is none."""
    numbers = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
    if not numbers:
        return None, False
    return numbers[-1], as_number(numbers[-1]) in {as_number(target) for target in item.targets}


def _letter(text: str, item: Item) -> tuple[str | None, bool]:
    """The last "answer is X" counts, else a letter that the text begins with and that stands alone."""
    said = _SAID_LETTER.findall(text)
    bare = _BARE_LETTER.match(text)
    letter = said[-1].upper() if said else bare[1] if bare else None
    return letter, letter is not None and letter in item.targets


def _final(text: str, item: Item) -> tuple[str | None, bool]:
    """What follows the last "Answer:" counts, else the last line."""
    said = [answer for answer in _SAID_ANSWER.findall(text) if answer.strip(_FRINGE)]
    answer = said[-1] if said else text.strip().rpartition("\n")[2]
    answer = answer.strip(_FRINGE)
    return answer or None, answer.casefold() in {target.casefold() for target in item.targets}


_SCORERS: Mapping[Scorer, Callable[[str, Item], tuple[str | None, bool]]] = {
    "exact": _exact,
    "contains": _contains,
    "regex": _regex,
    "numeric": _numeric,
    "letter": _letter,
    "final": _final,
}
