"""Interference of values, and classes of values that share registers.

In: a kernel's `Flow` and `Liveness`. Out: `Classes`, a union-find over values in which each class
knows whom it interferes with, plus the peak of live registers and predicates.

Two values interfere if one is live where the other is defined and they are not copies of each
other (Boissinot et al., 'Revisiting out-of-SSA translation', CGO 2009).
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue

from ..dialects.dstc_isa import IsaOp, PredType, RegType
from .cfg import Flow
from .liveness import Liveness, bits

SIZES = (1, 2, 4, 8, 16)


def size_of(value: SSAValue) -> int:
    """Registers of the group; a predicate is 1."""
    return value.type.registers if isinstance(value.type, RegType) else 1


def is_predicate(value: SSAValue) -> bool:
    """The value is a predicate, not a register group."""
    return isinstance(value.type, PredType)


def tied(op: Operation) -> SSAValue | None:
    """The value whose registers the result of `op` keeps (`into`)."""
    if isinstance(op, IsaOp):
        for role, value in zip(op.roles.data, op.args, strict=True):
            if role.data == "into":
                return value
    return None


def copied(op: Operation) -> SSAValue | None:
    """The value that `op` copies whole into its result, if it is such a copy."""
    if not isinstance(op, IsaOp) or op.ROW.mnemonic not in ("MOV", "PLOP"):
        return None
    uses = op.uses
    if op.ROW.mnemonic == "MOV":
        use = uses.get("b")
        plain = use is not None and use.sub == 0
    else:
        use = uses.get("pa")
        plain = "pb" not in uses and use is not None and not use.negated
        plain = plain and op.modifier_choices["op"] == "AND"
    if use is None or not plain or "into" in uses or size_of(use.value) != size_of(op.outs[0]):
        return None
    return use.value


@dataclass(frozen=True)
class Peak:
    """The most registers (or predicates) live at once, and the operation where they are."""

    count: int
    op: Operation | None


class Classes:
    """Values that must or may share registers, by union-find; each class knows its interferences.

    `members` and `conflicts` are bit sets of values, valid for the class's representative.
    """

    def __init__(self, flow: Flow, liveness: Liveness):
        count = len(liveness.values)
        self.liveness = liveness
        self.parent = list(range(count))
        self.members = [1 << i for i in range(count)]
        self.conflicts = [0] * count
        self.predicates = sum(1 << i for i, v in enumerate(liveness.values) if is_predicate(v))
        self.registers = (1 << count) - 1 & ~self.predicates
        self._of_size = {n: 0 for n in SIZES}
        for i, value in enumerate(liveness.values):
            if not is_predicate(value):
                self._of_size[size_of(value)] |= 1 << i
        self.register_peak = Peak(0, None)
        self.predicate_peak = Peak(0, None)
        self._same = _copies(flow, liveness)
        for index in range(len(flow.blocks)):
            self._scan(flow, index)

    def find(self, value: int) -> int:
        """Representative of the class of `value`."""
        parent = self.parent
        while parent[value] != value:
            parent[value] = parent[parent[value]]
            value = parent[value]
        return value

    def interfere(self, a: int, b: int) -> bool:
        """Some member of the class of `a` interferes with one of the class of `b`."""
        a, b = self.find(a), self.find(b)
        return bool(self.conflicts[a] & self.members[b] or self.conflicts[b] & self.members[a])

    def unite(self, a: int, b: int) -> None:
        """Make one class of those of `a` and `b`."""
        a, b = self.find(a), self.find(b)
        if a != b:
            self.parent[b] = a
            self.members[a] |= self.members[b]
            self.conflicts[a] |= self.conflicts[b]

    def neighbours(self) -> dict[int, set[int]]:
        """The interference graph over the classes' representatives."""
        roots = [self.find(i) for i in range(len(self.parent))]
        graph: dict[int, set[int]] = {root: set() for root in roots}
        for root in graph:
            for other in {roots[i] for i in bits(self.conflicts[root])}:
                graph[root].add(other)
                graph[other].add(root)
        return graph

    def _scan(self, flow: Flow, index: int) -> None:
        block, number = flow.blocks[index], self.liveness.number
        live = self.liveness.live_out[index]
        for op in reversed(list(block.ops)):
            for value in op.results:
                self._define(number[value], live)
                live &= ~(1 << number[value])
            below = live
            for value in op.operands:
                live |= 1 << number[value]
            self._measure(live, op)
            for value in op.results:
                self._measure(below | 1 << number[value], op)
        used = 0
        for arg in block.args:
            used |= 1 << number[arg] if arg.first_use is not None else 0
        for arg in bits(used):
            self._define(arg, live | used)

    def _define(self, value: int, live: int) -> None:
        kind = self.predicates if self.predicates >> value & 1 else self.registers
        self.conflicts[value] |= live & kind & ~self._same[value]

    def _measure(self, live: int, op: Operation) -> None:
        count = sum(n * (live & mask).bit_count() for n, mask in self._of_size.items())
        if count > self.register_peak.count:
            self.register_peak = Peak(count, op)
        count = (live & self.predicates).bit_count()
        if count > self.predicate_peak.count:
            self.predicate_peak = Peak(count, op)


def _copies(flow: Flow, liveness: Liveness) -> list[int]:
    """For each value the bit set of those that are copies of the same original, itself included."""
    original = list(range(len(liveness.values)))
    for block in flow.blocks:  # definitions come before uses in reverse postorder
        for op in block.ops:
            source = copied(op)
            if source is not None:
                original[liveness.number[op.results[0]]] = original[liveness.number[source]]
    same: dict[int, int] = {}
    for value, root in enumerate(original):
        same[root] = same.get(root, 0) | 1 << value
    return [same[root] for root in original]
