"""The one error of a configuration: where it stands, what is wrong, what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """hub.toml cannot be used. The command line prints it and ends with 2. Never holds the value of a secret.

    `line` counts from 1; 0 where no line can be named (the file is missing, a whole table is absent).
    """

    def __init__(self, file: str, line: int, problem: str, instead: str = "") -> None:
        self.file = file
        self.line = line
        self.problem = problem
        self.instead = instead
        place = f"{file}:{line}" if line else file
        super().__init__(f"{place}: {problem}" + (f"; {instead}" if instead else ""))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`write "port"` where something known is close, else the list of all that is known."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(names)}" if names else "nothing can be set here"
