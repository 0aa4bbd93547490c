"""What the products of a graph take together: who writes the operands of whom encoded. Not a pass.

In: of each product the candidates, alone; whose result it takes, what a kernel that encodes that
would take. Out: for each the candidate such that all together are fastest: a product may take one
that is slower alone, but writes what the next one takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ..dialects.dstc import Engine
from .choose import Candidate, Choice

_MOST = 8
"""Candidates of an engine that are considered for what they write."""
Write = Callable[[Candidate, Candidate], float | None]
"""(of the product before, of this one) -> cycles that it takes the first one's kernel to write what
the other one takes; None if it does not."""


@dataclass(eq=False)
class Node:
    """A product of the graph, with `choice` for it alone: encoding that hangs on none is in it."""

    choice: Choice
    before: Node | None = None
    """The product whose result it takes, if nothing lies between and nothing else reads it."""
    launch: float = 0.0
    """Cycles of encoding that result with a kernel of its own."""
    write: Write = field(default=lambda before, own: None)
    behind: list[Node] = field(default_factory=list["Node"])
    options: list[Candidate] = field(default_factory=list[Candidate])
    costs: list[float] = field(default_factory=list[float])
    """Of each option: its cycles, and those of all that is behind it."""

    def between(self, before: Candidate, own: Candidate) -> float:
        """Cycles of encoding, with these candidates."""
        if own.engine != Engine.DUAL:
            return 0.0
        written = self.write(before, own)
        return self.launch if written is None else written


def settle(nodes: Sequence[Node]) -> list[Choice]:
    """The choices of `nodes`, each behind the one that it takes a result of."""
    for node in nodes:
        if node.before is not None:
            node.before.behind.append(node)
    for node in reversed(nodes):
        node.options = _options(node)
        node.costs = [
            option.cycles + sum(_best(after, option)[1] for after in node.behind)
            for option in node.options
        ]
    found: dict[Node, Choice] = {}
    for node in nodes:
        if node.before is None:
            first = min(zip(node.options, node.costs, strict=True), key=lambda pair: pair[1])[0]
        else:
            first = _best(node, found[node.before].best)[0]
        found[node] = _with_first(node, first, None if node.before is None else found[node.before])
    return [found[node] for node in nodes]


def _options(node: Node) -> list[Candidate]:
    """The best of each engine, and the best few that write what an option behind it takes."""
    found = node.choice.best_of_each()
    for after in node.behind:
        for own in after.options:
            if own.engine != Engine.DUAL:
                continue
            for engine in dict.fromkeys(c.engine for c in node.choice.candidates):
                of_engine = (c for c in node.choice.candidates if c.engine == engine)
                writers = islice((c for c in of_engine if after.write(c, own) is not None), _MOST)
                found += [c for c in writers if c not in found]
    return found


def _best(node: Node, before: Candidate) -> tuple[Candidate, float]:
    """The option of a product that is best behind `before`, and what it and all behind it take."""
    costs = [
        cost + node.between(before, option)
        for option, cost in zip(node.options, node.costs, strict=True)
    ]
    at = min(range(len(costs)), key=lambda i: costs[i])
    return node.options[at], costs[at]


def _with_first(node: Node, first: Candidate, before: Choice | None) -> Choice:
    """The choice with `first` chosen, and with the encoding that each candidate needs."""
    rest = [c for c in node.choice.candidates if c is not first]
    found = [first, *rest]
    if before is not None:
        found = [replace(c, encoding=c.encoding + node.between(before.best, c)) for c in found]
    chosen, others = found[0], found[1:]
    others.sort(key=lambda c: (c.measured is None, c.cycles))  # as `tuned` leaves them
    return replace(node.choice, candidates=(chosen, *others))
