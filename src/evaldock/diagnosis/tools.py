"""Asking the programs of this machine."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

TOOL_TIMEOUT_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a program said. code: None when it did not end in time."""

    code: int | None
    output: str
    errors: str = ""

    @property
    def first_line(self) -> str:
        """The first line that says something, of the errors where it failed."""
        text = self.output if self.code == 0 else self.errors.strip() or self.output
        return next((line.strip() for line in text.splitlines() if line.strip()), "it says nothing")


def ask(argv: Sequence[str], timeout_s: float = TOOL_TIMEOUT_S) -> Answer | None:
    """Run a program that only reports; None where it is not on PATH."""
    if shutil.which(argv[0]) is None:
        return None
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(code=None, output="", errors=f"it does not end within {timeout_s:.0f} s")
    except OSError as error:
        return Answer(code=126, output="", errors=error.strerror or str(error))
    return Answer(code=done.returncode, output=done.stdout, errors=done.stderr)
