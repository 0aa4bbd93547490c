"""The converter of Einsum: any number of operands, two at a time, as matrix products.

In: a node and its draft. Out: sums, transposes and products on matrices. What two operands and the
result share is a batch; what they share alone is summed over in the product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...backend.isa.errors import DstcError
from .draft import Draft
from .onnx_build import Build
from .onnx_node import Node
from .onnx_products import product

_ELLIPSIS = "..."
_REST = "\ue000"
"""First of the letters that stand for the dimensions of an ellipsis."""


@dataclass(frozen=True)
class _Term:
    """A value and the letters of its dimensions."""

    value: str
    letters: tuple[str, ...]

    def extents(self, b: Build) -> dict[str, int]:
        """Sizes by letter."""
        return dict(zip(self.letters, b.shape(self.value), strict=True))


def _parsed(b: Build, text: str) -> tuple[list[_Term], tuple[str, ...]]:
    """(operands, letters of the result)."""
    given, arrow, out = text.partition("->")
    parts = given.split(",")
    if len(parts) != len(b.node.inputs):
        raise DstcError(f"equation {text!r} is not one of {len(b.node.inputs)} operands")
    most = 0
    terms: list[_Term] = []
    for part, value in zip(parts, b.node.inputs, strict=True):
        named = len(part.replace(_ELLIPSIS, ""))
        rest = len(b.shape(value)) - named if _ELLIPSIS in part else 0
        most = max(most, rest)
        terms.append(_Term(value, _letters(part, rest)))
    if not arrow:
        every = [c for part in parts for c in part.replace(_ELLIPSIS, "")]
        out = _ELLIPSIS + "".join(sorted(c for c in set(every) if every.count(c) == 1))
    for term in terms:
        if len(set(term.letters)) != len(term.letters):
            raise DstcError(f"equation {text!r}: an index twice in one operand is not supported")
        if len(term.letters) != len(b.shape(term.value)):
            raise DstcError(f"equation {text!r} does not fit an operand of {b.shape(term.value)}")
    return terms, _letters(out, most if _ELLIPSIS in out else 0)


def _letters(part: str, rest: int) -> tuple[str, ...]:
    """Letters of an operand; those of an ellipsis count from its end."""
    stands = "".join(chr(ord(_REST) + i) for i in reversed(range(rest)))
    return tuple(part.replace(_ELLIPSIS, stands))


def _without(b: Build, term: _Term, letters: Sequence[str]) -> _Term:
    """Summed over dimensions."""
    axes = [term.letters.index(c) for c in letters]
    value = b.reduce("sum", term.value, axes, keep=False) if axes else term.value
    return _Term(value, tuple(c for c in term.letters if c not in letters))


def _narrowed(b: Build, term: _Term, other: _Term) -> _Term:
    """Without dimensions of one element where the other operand has more."""
    own, theirs = term.extents(b), other.extents(b)
    gone = [c for c, n in own.items() if n == 1 and theirs.get(c, 1) > 1]
    kept = tuple(c for c in term.letters if c not in gone)
    return _Term(b.reshape(term.value, [own[c] for c in kept]), kept)


def _contracted(b: Build, lhs: _Term, rhs: _Term, wanted: set[str]) -> _Term:
    """The product of two operands, of which `wanted` letters stay."""
    lhs, rhs = _narrowed(b, lhs, rhs), _narrowed(b, rhs, lhs)
    lhs, rhs = (
        _without(b, t, [c for c in t.letters if c not in other.letters and c not in wanted])
        for t, other in ((lhs, rhs), (rhs, lhs))
    )
    shared = [c for c in lhs.letters if c in rhs.letters]
    batch, sums = [c for c in shared if c in wanted], [c for c in shared if c not in wanted]
    rows = [c for c in lhs.letters if c not in shared]
    columns = [c for c in rhs.letters if c not in shared]
    extent = rhs.extents(b) | lhs.extents(b)

    def size(letters: Sequence[str]) -> int:
        return math.prod(extent[c] for c in letters)

    def arranged(term: _Term, first: list[str], second: list[str]) -> str:
        order = [term.letters.index(c) for c in (*batch, *first, *second)]
        shape = (size(batch), size(first), size(second))
        return b.reshape(b.transpose(term.value, order), shape)

    value = product(b, arranged(lhs, rows, sums), arranged(rhs, sums, columns))
    made = (*batch, *rows, *columns)
    return _Term(b.reshape(value, [extent[c] for c in made]), made)


def _einsum(draft: Draft, node: Node) -> None:
    b = Build(draft, node)
    terms, out = _parsed(b, str(node.attrs["equation"]).replace(" ", ""))
    result, *rest = terms
    for i, term in enumerate(rest):
        later = {c for t in rest[i + 1 :] for c in t.letters}
        result = _contracted(b, result, term, later | set(out))
    result = _without(b, result, [c for c in result.letters if c not in out])
    b.give(b.transpose(result.value, [result.letters.index(c) for c in out]))


EINSUM: dict[str, Callable[[Draft, Node], None]] = {"Einsum": _einsum}
"""Sums of products."""
