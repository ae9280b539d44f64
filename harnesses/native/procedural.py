"""Questions made from a seed: sums and products, and six families of small puzzles."""

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from itertools import pairwise

from items import Item, RefusedError, Scorer, generator

Made = tuple[str, str]  # question, answer
Maker = Callable[[random.Random], Made]

MOST_ITEMS = 10_000
NUMBER_ONLY = "Answer with the number."
STEP_BY_STEP = 'You may think first; end with a line "Answer: " and the answer alone.'
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "Jude")
ORDINALS = ("", "second ", "third ")
MONDAY = date(2024, 1, 1)


def made_items(task: str, count: int, seed: int | None) -> list[Item]:
    """Return `count` different questions of the task, the families taking turns; equal seeds, equal ones."""
    if not 1 <= count <= MOST_ITEMS:
        raise RefusedError(f"params.extra.items: {count}: give a number from 1 to {MOST_ITEMS}")
    families = FAMILIES[task]
    source, names, seen = generator(seed), list(families), set[str]()
    items = []
    for number in range(count):
        family = names[number % len(names)]
        make, scorer = families[family]
        question, answer = _unseen(make, source, seen)
        instruction = NUMBER_ONLY if task == "arithmetic" else STEP_BY_STEP
        item_id = f"{family}/{number // len(names)}"
        items.append(
            Item(
                id=item_id,
                scorer=scorer,
                prompt=question,
                targets=(answer,),
                instruction=instruction,
                framed=True,
            )
        )
    return items


def _unseen(make: Maker, source: random.Random, seen: set[str]) -> Made:
    while True:
        question, answer = make(source)
        if question not in seen:
            seen.add(question)
            return question, answer


def add(source: random.Random) -> Made:
    a, b = source.randint(10, 999), source.randint(10, 999)
    return f"What is {a} + {b}?", str(a + b)


def subtract(source: random.Random) -> Made:
    a, b = source.randint(10, 999), source.randint(10, 999)
    return f"What is {a} - {b}?", str(a - b)


def multiply(source: random.Random) -> Made:
    a, b = source.randint(2, 99), source.randint(11, 99)
    return f"What is {a} * {b}?", str(a * b)


def mixed(source: random.Random) -> Made:
    a, b, c = source.randint(2, 20), source.randint(2, 20), source.randint(2, 99)
    return f"What is {a} * {b} + {c}?", str(a * b + c)


def weekday(source: random.Random) -> Made:
    today, days = MONDAY + timedelta(days=source.randrange(7)), source.randint(8, 999)
    asked = f"If today is {today:%A}, which day of the week is it in {days} days?"
    return asked, f"{today + timedelta(days=days):%A}"


def order(source: random.Random) -> Made:
    """The clues name each pair of neighbours, so exactly one order fits."""
    tallest_first = source.sample(NAMES, source.randint(4, 6))
    clues = []
    for tall, short in pairwise(tallest_first):
        clues.append(source.choice([f"{tall} is taller than {short}.", f"{short} is shorter than {tall}."]))
    source.shuffle(clues)
    rank = source.randrange(len(ORDINALS))
    return f"{' '.join(clues)} Who is the {ORDINALS[rank]}tallest?", tallest_first[rank]


def sequence(source: random.Random) -> Made:
    """Each term is `factor` times the one before it plus `step`, or the sum of the two before it."""
    terms = [source.randint(1, 20), source.randint(21, 60)]
    factor, step = source.randint(1, 3), source.randint(2, 50)
    is_sum_of_two = source.random() < 0.25
    if not is_sum_of_two:
        terms = terms[:1]
    while len(terms) < 6:
        terms.append(terms[-1] + terms[-2] if is_sum_of_two else factor * terms[-1] + step)
    rule = (
        "the sum of the two numbers before it"
        if is_sum_of_two
        else f"{factor} times the number before it plus {step}"
    )
    shown = ", ".join(map(str, terms[:-1]))
    return f"In the sequence {shown} each further number is {rule}. What is the next number?", str(terms[-1])


def letters(source: random.Random) -> Made:
    word = "".join(source.choices("abcdr", k=source.randint(8, 14)))
    letter = source.choice("abcdr")
    return f'How many times does the letter "{letter}" occur in "{word}"?', str(word.count(letter))


def logic(source: random.Random) -> Made:
    text, value = _expression(source, 3)
    return f"What is the value of {text}: true or false?", "true" if value else "false"


def _expression(source: random.Random, depth: int) -> tuple[str, bool]:
    if depth == 0:
        value = source.random() < 0.5
        return str(value), value
    left, left_value = _expression(source, depth - 1)
    match source.choice(["not", "and", "or"]):
        case "not":
            return f"not ({left})", not left_value
        case operator:
            right, right_value = _expression(source, depth - 1)
            value = left_value and right_value if operator == "and" else left_value or right_value
            return f"({left}) {operator} ({right})", value


def select(source: random.Random) -> Made:
    numbers = source.sample(range(100, 1000), source.randint(5, 9))
    rank = source.randrange(len(ORDINALS))
    listed = ", ".join(map(str, numbers))
    return f"Which is the {ORDINALS[rank]}smallest of these numbers: {listed}?", str(sorted(numbers)[rank])


FAMILIES: Mapping[str, Mapping[str, tuple[Maker, Scorer]]] = {
    "arithmetic": {
        "add": (add, "numeric"),
        "subtract": (subtract, "numeric"),
        "multiply": (multiply, "numeric"),
        "mixed": (mixed, "numeric"),
    },
    "reasoning": {
        "weekday": (weekday, "final"),
        "order": (order, "final"),
        "sequence": (sequence, "numeric"),
        "letters": (letters, "numeric"),
        "logic": (logic, "final"),
        "select": (select, "numeric"),
    },
}
