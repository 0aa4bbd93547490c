"""`--verify-diagnostics`: errors that a test file expects, in MLIR's notation.

In: MLIR text with comments `// expected-error {{part of the message}}`, optionally `@+2`, `@-1`,
`@above`, `@below` behind the word for another line; the errors that came. Out: what is missing or
was not expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_EXPECTED = re.compile(
    r"expected-error(?:@(?P<at>[+-]\d+|above|below|unknown))?\s*\{\{(?P<text>.*?)\}\}"
)
UNKNOWN = 0
"""The line of what has no position (`@unknown`)."""


@dataclass(frozen=True)
class Diagnostic:
    """An error that came: its line in the file (from 1; 0 without a position) and message."""

    line: int
    message: str


@dataclass(frozen=True)
class Expected:
    """An error that should come, and the line that says so."""

    line: int
    pattern: re.Pattern[str]
    text: str
    said: int


def expectations(lines: Sequence[str], first: int = 1) -> list[Expected]:
    """What `lines`, of which the first is number `first`, expect."""
    found: list[Expected] = []
    code = 0
    waiting: list[tuple[re.Pattern[str], str, int]] = []
    for number, line in enumerate(lines, first):
        comment = line.strip().startswith("//")
        if not comment and line.strip():
            code = number
            found += [Expected(number, p, t, said) for p, t, said in waiting]
            waiting = []
        for match in _EXPECTED.finditer(line):
            text = match["text"].strip()
            pattern = re.compile(re.escape(" ".join(text.split())))
            at = match["at"]
            if at == "below":
                waiting.append((pattern, text, number))
                continue
            where = {None: number, "above": code, "unknown": UNKNOWN}.get(at, -1)
            found.append(Expected(number + int(at) if where < 0 else where, pattern, text, number))
    found += [Expected(-1, p, t, said) for p, t, said in waiting]
    return found


def unmet(name: str, expected: Iterable[Expected], came: Iterable[Diagnostic]) -> list[str]:
    """One line for each expected error that did not come, and for each that nobody expected."""
    open_ = list(expected)
    wrong: list[str] = []
    for diagnostic in came:
        message = " ".join(diagnostic.message.split())
        met = next(
            (e for e in open_ if e.line == diagnostic.line and e.pattern.search(message)), None
        )
        if met is None:
            where = f"{name}:{diagnostic.line}: " if diagnostic.line else f"{name}: "
            wrong.append(f"{where}unexpected error: {message}")
        else:
            open_.remove(met)
    wrong += [f'{name}:{e.said}: expected error "{e.text}" did not come' for e in open_]
    return wrong
