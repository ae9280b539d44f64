"""Hand-made answers to the first twenty prompts of IFEval, with the verdict on each instruction.

The verdicts follow from the instructions' wording alone; no checker's code was run for them.
"""

from dataclasses import dataclass

FOUR_PANGRAMS = "the quick brown fox jumps over the lazy dog " * 4  # each letter at least four times
LETTER = (
    "Write an email to my boss telling him that I am quitting. The email must contain a title wrapped in "
    "double angular brackets, i.e. <<title>>."
)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """One answer that follows every instruction, and one that does not: which of them it follows, in order.

    loose: the same by the loose reading, which may drop the first and the last line and all asterisks.
    """

    good: str
    bad: str
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def _same(good: str, bad: str, *verdicts: bool) -> Answers:
    return Answers(good=good, bad=bad, strict=verdicts, loose=verdicts)


def _loose_only(good: str, bad: str) -> Answers:
    return Answers(good=good, bad=bad, strict=(False,), loose=(True,))


FIRST_TWENTY = {
    # no commas; three highlighted sections; 300 words
    "1000": _same("*one* and *two* and *three* " + "word " * 300, "*one*, no more", False, False, False),
    "1001": _loose_only(
        "Hark traveller go to Kyoto", "Sure, here it is:\nHark traveller go to Kyoto"
    ),  # no commas
    "1005": _same("[name] " * 12, "[name]", False),  # 12 placeholders
    # repeat the request; a title
    "1012": _same(f"{LETTER}\n<<Farewell>>\nI quit.", "<<Farewell>>\nI quit.", False, True),
    "1019": _same(
        "do the two young boys have toy guns and horns?", "Do they have horns?", False
    ),  # lowercase
    "102": _loose_only(
        "* one\n* two\n* three", "* one\n* two\n* three\n* four"
    ),  # exactly three bullet points
    # all capitals; two sections
    "1021": _same(
        "PARAGRAPH 1\nTHE SENTENCE IS WRONG BECAUSE THE LAW IS THERE FOR ALL OF US.\n"
        "PARAGRAPH 2\nTHE PEOPLE SHOULD CHANGE THE LAW AND NOT BREAK IT.",
        "PARAGRAPH 1\nThe law is there.\nPARAGRAPH 2\nChange it.",
        False,
        True,
    ),
    # fewer than ten words in capitals; at least one; the whole in quotation marks
    "1040": _same('"He is GREAT at work"', "he is great at work", True, False, False),
    "1051": _same("dear friend please go and vote with me on tuesday", "Dear friend", False),  # lowercase
    # both keywords; 500 words; no commas
    "1069": _same("correlated experiencing " + "word " * 500, "correlated experiencing", True, False, True),
    "1072": _same("sleep " * 400, "sleep", False),  # 400 words
    "1075": _same('{"product": "diaper"}', "a diaper", False),  # JSON
    "1082": _same("He wakes up.\n***\nIt is a game.", "He wakes up.", False),  # two paragraphs
    "1087": _same("this is a good film about a young man and his company", "A good film", False),  # lowercase
    "1092": _same("Kyoto was nice.", "word " * 300, False),  # less than 300 words
    "1094": _same('{"moms": ["Anna"]}', "Anna", False),  # JSON
    "1098": _same("Allah******Yahweh", "Allah", False),  # two responses
    "1107": _same(
        "One joke******another joke", "One, joke******another joke", False, True
    ),  # no commas; two responses
    "1108": _same(
        "ಹೌದು ಅದು ಒಂದು ಬಗೆಯ ಸ್ಯಾಂಡ್ವಿಚ್", "Yes it is a kind of sandwich with meat in it", False
    ),  # Kannada
    # lowercase; a letter four times, which one the check draws by itself
    "1122": _same(FOUR_PANGRAMS, "123", False, False),
}
