"""Why a file is not read, in one sentence: what must hold, what was found, what to do."""

from __future__ import annotations

from typing import Any

from kseq.checks import shown_path
from kseq.errors import ModelFileError

_LONGEST = 300
_LONGEST_FOUND, _LONGEST_DAMAGE = 150, 105


class FlawError(Exception):
    """Something in a file that is not as it must be; `refusal` puts the file's path before it."""

    def __init__(self, rule: str, found: str, remedy: str) -> None:
        super().__init__(found)
        self.rule, self.found, self.remedy = rule, found, remedy


class DamageError(FlawError):
    """A file that is not whole."""

    def __init__(self, found: str) -> None:
        super().__init__(
            "must be a whole .keras file",
            f"an incomplete or corrupt one ({_one_line(found, _LONGEST_DAMAGE)})",
            "save the model again or fetch another copy",
        )


def refusal(path: Any, flaw: FlawError) -> ModelFileError:
    """Return the error that says of the file `path` what is wrong with it, in 300 characters."""
    words = f": {flaw.rule}, found {_one_line(flaw.found)}; {flaw.remedy}"
    return ModelFileError(shown_path(path, max(40, _LONGEST - len(words))) + words)


def _one_line(text: str, longest: int = _LONGEST_FOUND) -> str:
    line = "".join(letter if letter.isprintable() else "?" for letter in text)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
